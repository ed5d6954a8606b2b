"""Elements of job arrays: how Slurm names them, one or several at a time (sbatch(1), JOB ARRAY SUPPORT).

The last element that starts has for its SLURM_JOB_ID the id of the whole array, and that id means all
elements to every command of Slurm's. Only ARRAY_INDEX means one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from launch.scheduler.slurm_command import SlurmError, ask

DEFAULT_LARGEST = 1001  # MaxArraySize, where a site has set nothing


def own_name(environment: Mapping[str, str]) -> str:
    """Return what a job calls itself: ARRAY_INDEX as an element of an array, else its id."""
    array, index = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return environment["SLURM_JOB_ID"] if array is None or index is None else f"{array}_{index}"


def array_of(job: str) -> str:
    """Return the array that an element belongs to; of a job that is none, the job."""
    return job.partition("_")[0]


def names(written: str) -> Iterator[str]:
    """Return the jobs that one record is of: 7, 7_3, or as one that hasn't been divided yet 7_[0-3,8-12:2%4].

    Args:
        written: the job as squeue and sacct write it.
    """
    array, bracket, elements = written.partition("_[")
    if not bracket:
        yield written
        return
    for part in elements.rstrip("]").partition("%")[0].split(","):
        if found := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part):
            first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
            yield from (f"{array}_{index}" for index in range(first, last + 1, step))


def largest() -> int:
    """Return how many elements an array may have: 1 where Slurm has no arrays; its default if it doesn't say.

    Of a larger array sbatch says that its specification is invalid (slurm.conf(5), MaxArraySize and
    SchedulerParameters=max_array_tasks).
    """
    try:
        said = ask("scontrol", "show", "config")
    except SlurmError:
        return DEFAULT_LARGEST
    limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", said, re.MULTILINE)
    return max(1, min((int(one or other) for one, other in limits), default=DEFAULT_LARGEST))
