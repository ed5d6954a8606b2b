"""Slurm's commands as one types them on a login node: small scripts, to be put first in PATH."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from slurm.machine import Machine

READS_TIMES = ("squeue", "sinfo", "scontrol", "sacct", "sacctmgr")  # and so needs the daemons' clock
OTHERS = ("sbatch", "srun", "salloc", "scancel")  # would hand that clock on to their jobs

# sbatch hands PATH on to its job, and that runs on a node already.
SCRIPT = """\
#!/bin/sh
[ "$SLURM_CLUSTER_NAME" = {cluster} ] && exec {command} "$@"
export SLURM_CONF={conf}
exec {enter} {clock} {command} "$@"
"""


def write(folder: Path, conf: Path, cluster: str, login: Machine, clock: Mapping[str, str]) -> None:
    """Write the scripts.

    Args:
        folder: where to.
        conf: slurm.conf.
        cluster: its ClusterName.
        login: the machine on which the commands run.
        clock: variables that make a command see the daemons' clock.
    """
    folder.mkdir()
    enter = shlex.join(login.entry()[:-1]) + ' --wdns="$PWD" --'
    set_clock = shlex.join(["env", *(f"{name}={value}" for name, value in clock.items())])
    for name in (*READS_TIMES, *OTHERS):
        path = folder / name
        path.write_text(
            SCRIPT.format(
                cluster=cluster,
                command=f"/usr/bin/{name}",
                conf=conf,
                enter=enter,
                clock=set_clock if clock and name in READS_TIMES else "",
            )
        )
        path.chmod(0o755)
