"""A Slurm cluster to play with: `python tests/slurm`, or `make cluster`; Ctrl-C takes it down."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # else this folder's files would be modules

from slurm import packages  # noqa: E402
from slurm.cluster import Cluster, ClusterError  # noqa: E402
from slurm.configuration import CONTROLLER, Settings  # noqa: E402
from slurm.machine import MachineError  # noqa: E402

UP = """\
A Slurm cluster is up: nodes {nodes}, {gpus} GPUs each (device files with nothing behind them), partitions
low, whose jobs are preempted after {grace_s} s, and high. In another terminal:

  export PATH={folder}/bin:$PATH
  srun -N{count} hostname
  {python} launch/slurm.py +exp=demo_dnw nodes=2 nproc=2 cluster.partition=low   # its images: make demo
  sbatch --partition=high --nodes={count} --exclusive --wrap='sleep 20'     # preempts it
  squeue; sacct -X -D; scancel JOB

Here: off NODE, on NODE, cut NODE, restore NODE, slurmd NODE (kills it).  Ctrl-C takes the cluster down.
Daemons log to {folder}/log.
"""


def main() -> int:
    """Raise it, obey what is typed, take it down."""
    asked = _arguments()
    if reason := packages.why_not():
        print(f"no Slurm cluster can be raised here: {reason}; python tests/slurm/packages.py installs them")
        return 1
    settings = Settings(
        nodes=asked.nodes, grace_s=asked.grace_s, user_signal=asked.user_signal, speed=asked.speed
    )
    try:
        with Cluster(settings) as cluster:
            print(
                UP.format(
                    nodes=", ".join(settings.names),
                    count=settings.nodes,
                    gpus=settings.gpus,
                    grace_s=settings.grace_s,
                    folder=cluster.folder,
                    python=sys.executable,
                ),
                flush=True,
            )
            _obey(cluster)
    except KeyboardInterrupt:
        print("\nthe cluster is down")
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/slurm", description=__doc__)
    default = Settings()
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--grace-s", type=int, default=default.grace_s, help="what a preempted job gets")
    parser.add_argument("--user-signal", action="store_true", help="preempt with the job's own signal first")
    parser.add_argument("--speed", type=int, default=default.speed, help="of the daemons' clock, 10 say")
    return parser.parse_args()


def _obey(cluster: Cluster) -> None:
    """Do what is typed, to the end of the input; then wait for Ctrl-C."""
    verbs: dict[str, Callable[[str], None]] = {
        "off": cluster.power_off,
        "on": cluster.start_node,
        "cut": cluster.cut,
        "restore": cluster.restore,
        "slurmd": cluster.kill_slurmd,
    }
    for line in sys.stdin:
        verb, _, name = line.strip().partition(" ")
        if verb not in verbs or name not in cluster.settings.names:
            print(f"say one of {', '.join(verbs)}, and one of the nodes: off n1")
            continue
        try:
            verbs[verb](name)
        except MachineError as error:
            print(error)
    cluster.machines[CONTROLLER].process.wait()


if __name__ == "__main__":
    sys.exit(main())
