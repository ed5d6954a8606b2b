"""How long Slurm lets a job live on after it was told to stop."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launch.scheduler.slurm_command import ask


@dataclass(frozen=True)
class Grants:
    """How long a job may live on after it was told to stop; None where Slurm doesn't say."""

    partition: str
    grace_time_s: int | None = None  # of a preempted job, between TERM and the second TERM
    kill_wait_s: int | None = None  # from there to KILL

    @property
    def preempted_s(self) -> int | None:
        """What a preempted job gets from its first TERM to its KILL."""
        known = [seconds for seconds in (self.grace_time_s, self.kill_wait_s) if seconds is not None]
        return sum(known) if known else None


def grants(partition: str) -> Grants:
    """Return what a partition's jobs get to stop in.

    Raises:
        SlurmError: scontrol doesn't answer.
    """
    shown = ask("scontrol", "--oneliner", "show", "partition", partition)
    config = ask("scontrol", "show", "config")
    return Grants(
        partition,
        grace_time_s=_number(r"\bGraceTime=(\d+)", shown),
        kill_wait_s=_number(r"^KillWait\s*=\s*(\d+)", config),
    )


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None
