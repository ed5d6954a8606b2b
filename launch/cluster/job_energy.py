"""The energy of jobs, where a cluster accounts it (acct_gather.conf); one call of sacct for many jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from launch.scheduler import array
from launch.scheduler.slurm_command import SlurmError, records

FIELDS = "JobID,Start,End,ConsumedEnergyRaw"
JOBS_OF_A_CALL = 2000  # a word of a command line holds 128 KiB
LARGEST_J = 2**62  # what Slurm has for "not known" is larger


@dataclass(frozen=True)
class Allocation:
    """One time that a job had its nodes: each requeue makes another one."""

    job: str
    began: float  # seconds since 1970
    ended: float | None  # None: it hasn't
    joules: int | None  # of its nodes, by their sensors; None: not accounted


@dataclass(frozen=True)
class Accounts:
    """What the accounts told, and why they told nothing."""

    found: tuple[Allocation, ...] = ()
    problem: str = ""


def allocations(jobs: Collection[str]) -> Accounts:
    """Return all that the accounts know of those jobs' times on nodes.

    Args:
        jobs: ids, as the ledgers have them; where there are none, Slurm isn't asked.
    """
    words = ["--noheader", "--parsable2", "--allocations", "--duplicates", f"--format={FIELDS}"]
    found: list[Allocation] = []
    arrays = sorted({array.array_of(job) for job in jobs if job[:1].isdigit()})
    try:
        for some in _parts(arrays):
            told = records(_allocation, "sacct", *words, f"--jobs={','.join(some)}")
            found += [one for one in told if one is not None]
    except SlurmError as error:
        return Accounts(problem=str(error))
    return Accounts(tuple(found))


def _parts(jobs: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(jobs), JOBS_OF_A_CALL):
        yield jobs[begin : begin + JOBS_OF_A_CALL]


def _allocation(line: str) -> Allocation | None:
    """Return what a line tells; None of a job that never began."""
    job, began, ended, joules = line.split("|")
    if not began.isdigit():
        return None
    known = int(joules) if joules.isdigit() else 0
    return Allocation(
        job,
        float(began),
        float(ended) if ended.isdigit() else None,
        known if 0 < known < LARGEST_J else None,
    )
