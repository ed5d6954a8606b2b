"""How long Slurm lets a job live on after it was told to stop.

The grace time of a preempted job is its partition's, or with PreemptType=preempt/qos that of its QOS.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass

from launch.scheduler.slurm_command import SlurmError, ask


@dataclass(frozen=True)
class Grants:
    """How long a job may live on after it was told to stop; None where Slurm doesn't say."""

    partition: str
    qos: str | None = None  # whose grace time it is, where QOS preempt each other
    grace_time_s: int | None = None  # of a preempted job, between TERM and the second TERM
    kill_wait_s: int | None = None  # from there to KILL

    @property
    def preempted_s(self) -> int | None:
        """What a preempted job gets from its first TERM to its KILL."""
        known = [seconds for seconds in (self.grace_time_s, self.kill_wait_s) if seconds is not None]
        return sum(known) if known else None


def grants(partition: str, qos: str | None = None) -> Grants:
    """Return what jobs get to stop in.

    Args:
        partition: where they go.
        qos: theirs; None: the user's default.

    Raises:
        SlurmError: Slurm doesn't answer.
    """
    config = ask("scontrol", "show", "config")
    kill_wait_s = _number(r"^KillWait\s*=\s*(\d+)", config)
    if re.search(r"^PreemptType\s*=\s*preempt/qos\b", config, re.MULTILINE):
        chosen = qos or _default_qos()
        return Grants(partition, chosen, _grace_time_s(chosen), kill_wait_s)
    shown = ask("scontrol", "--oneliner", "show", "partition", partition)
    return Grants(partition, None, _number(r"\bGraceTime=(\d+)", shown), kill_wait_s)


def _default_qos() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # as in a container, or while the directory of users is away
        raise SlurmError(f"sacctmgr: user {os.getuid()} has no name here") from None
    told = _accounts("assoc", f"user={user}", "format=DefaultQOS").split()
    return told[0] if told else "normal"  # which every cluster has


def _grace_time_s(qos: str) -> int | None:
    """Return the seconds that a QOS grants; None where there is no such, or it has none."""
    for line in _accounts("qos", "format=Name,GraceTime").splitlines():
        name, _, grace = line.partition("|")
        if name == qos and (found := re.match(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", grace)):
            days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
            return days * 86400 + hours * 3600 + minutes * 60 + seconds
    return None


def _accounts(*words: str) -> str:
    return ask("sacctmgr", "--noheader", "--parsable2", "show", *words)


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None
