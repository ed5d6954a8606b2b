"""The environment in which Slurm is asked: no default that the user has set there changes the answer.

Each of Slurm's commands takes defaults from variables: SQUEUE_STATES=PENDING would hide a job that runs,
SCANCEL_USER would keep one from being cancelled, SLURM_CLUSTERS would have another cluster answer.
"""

from __future__ import annotations

from collections.abc import Mapping

# Defaults of squeue(1), sacct(1), sinfo(1), scontrol(1), sacctmgr(1) and scancel(1), and what several take.
OF_COMMANDS = ("SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SACCTMGR_", "SCANCEL_")
OF_ALL = frozenset(
    f"SLURM_{name}" for name in ("CLUSTERS", "TIME_FORMAT", "BITSTR_LEN", "TOPO_LEN", "DEBUG_FLAGS")
) | {"SLURM_JSON", "SLURM_YAML"}
# Times in seconds since 1970, without time zones or gaps in October; numbers of an array's elements in full;
# partitions that a site hides, and the jobs in them: of one that works there squeue would say nothing.
FIXED = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C"} | {
    f"{command}_ALL": "1" for command in ("SQUEUE", "SINFO", "SCONTROL")
}


def for_queries(current: Mapping[str, str]) -> dict[str, str]:
    """Return what a command that asks, or orders, is to see of an environment.

    What says which Slurm there is stays: SLURM_CONF, SLURM_CONF_SERVER, SLURM_JWT.
    """
    stays = {name: value for name, value in current.items() if not _is_default(name)}
    return {**stays, **FIXED}


def _is_default(name: str) -> bool:
    return name in OF_ALL or name.startswith(OF_COMMANDS)
