"""Options of sbatch that aren't typed as such: they have a setting of their own, or would make no job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# those that have a setting of their own, and those that the launcher itself sets
SETTINGS = {
    **{
        option: f"cluster.{option}" for option in ("time", "partition", "account", "qos", "constraint", "mem")
    },
    **{option: f"cluster.{option}" for option in ("exclude", "nodelist")},
    **{"gpus_per_node": "cluster.gpus_per_node", "cpus_per_task": "cluster.cpus_per_task"},
    **{"cpus_per_gpu": "cluster.cpus_per_task"},  # sbatch takes but one of them
    **{"signal": "cluster.signal_delay_s", "nodes": "nodes"},
    **{"requeue": "cluster.requeue", "no_requeue": "cluster.requeue=false"},
}
TAKEN = frozenset({"ntasks_per_node", "ntasks_per_gpu", "ntasks", "array", "output", "error", "open_mode"})
# with which sbatch would submit nothing, or something else, or answer otherwise than it is read; or Slurm
# would not requeue a job that has lost a node
NO_JOB = frozenset(
    {
        *("wrap", "test_only", "wait", "parsable", "quiet", "help", "usage", "version"),
        *("no_kill", "het_group", "input"),
    }
)
ELSEWHERE = "clu"  # of clusters and cluster-constraint, which sbatch knows by their beginnings, too
NOT_ELSEWHERE = ": jobs on another cluster can't be found from here; type it on a login node of that cluster"


def refusals(options: Iterable[str], srun_args: Iterable[str]) -> Iterator[str]:
    """Yield what to say of each option that can't be had as it was typed.

    Args:
        options: names in cluster.additional_parameters.
        srun_args: words for srun.
    """
    for key in options:
        option = key.replace("-", "_")
        where = f"cluster.additional_parameters: {key!r}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", option):
            yield f"{where} is no sbatch option"
        elif option in SETTINGS:
            yield f"{where} has a setting of its own: {SETTINGS[option]}"
        elif option in TAKEN:
            yield f"{where} is set by the launcher itself"
        elif option in NO_JOB:
            yield f"{where} would make no job that can be followed and requeued; leave it out"
        elif option.startswith(ELSEWHERE):
            yield f"{where}{NOT_ELSEWHERE}"
    for word in srun_args:
        if word.startswith((f"--{ELSEWHERE}", "-M")):
            yield f"cluster.srun_args: {word!r}{NOT_ELSEWHERE}"
