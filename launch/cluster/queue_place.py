"""How many jobs wait before one, by their priorities; one call of squeue for any number of jobs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from launch.cluster.slurm_queue import QueuedJob
from launch.scheduler.slurm_command import SlurmError, records

FIELDS = "%i|%P|%Q|%u"


@dataclass(frozen=True)
class Place:
    """Where a job waits; Slurm may start a smaller one before it, and a site may not show others' jobs."""

    ahead: int  # jobs with a higher priority, or the same and a lower number
    waiting: int  # jobs that wait in its partition, itself among them; held ones aren't counted
    has_others: bool  # some of them are other users'


@dataclass(frozen=True)
class Places:
    """What one question brought in, and why it brought in nothing."""

    found: dict[str, Place]
    problem: str = ""


class _Waiting(NamedTuple):
    id: str
    partition: str
    priority: int
    user: str

    @property
    def order(self) -> tuple[int, list[int]]:
        """By what Slurm tries jobs one after the other."""
        return -self.priority, [
            int(part) for part in re.findall(r"\d+", self.id)
        ]  # 7_2, or 7+0 of several parts


def places(jobs: Sequence[QueuedJob]) -> Places:
    """Return the places of those jobs that wait and aren't held, by id; of several partitions the best one's.

    Args:
        jobs: any; where none waits, Slurm isn't asked.
    """
    partitions = {name for job in jobs if job.state == "PENDING" for name in job.partition.split(",")}
    if not partitions:
        return Places({})
    words = ["--noheader", "--array", "--priority", "--states=PENDING"]
    try:
        told = records(
            _waiting, "squeue", *words, f"--partition={','.join(sorted(partitions))}", f"--format={FIELDS}"
        )
    except SlurmError as error:
        return Places({}, str(error))
    ids, found = {job.id for job in jobs}, dict[str, Place]()
    queues = defaultdict[str, list[_Waiting]](list)
    for one in told:
        if one.priority > 0:  # 0: held
            queues[one.partition].append(one)
    for queue in queues.values():
        has_others = len({one.user for one in queue}) > 1
        for ahead, one in enumerate(sorted(queue, key=lambda one: one.order)):
            if one.id in ids and (one.id not in found or ahead < found[one.id].ahead):
                found[one.id] = Place(ahead, len(queue), has_others)
    return Places(found)


def _waiting(line: str) -> _Waiting:
    job, partition, priority, user = line.split("|")
    return _Waiting(job, partition, int(priority), user)
