"""How often a checkpoint pays (`checkpoint.every=auto`).

Saving every T seconds costs the share c/T of the time, c seconds of standstill each, and a failure that comes
every M seconds on average throws T/2 away: both together are least at T = sqrt(2 c M) (J. W. Young, "A first
order approximation to the optimum checkpoint interval", CACM 17(9), 1974). Stops that are announced save for
themselves and don't count.
"""

from __future__ import annotations

import math

from dnw.config import CheckpointSettings
from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.goodput import goodput

FIRST_S = 60.0  # until one was saved, and it is known what that costs
LONGEST_S = 3600.0
DISK_SHARE = 0.05  # of the time may be spent on writing, which happens asynchronously
ASSUMED_S = 24 * 3600.0  # between two failures: what a run without any is taken to have seen already


def young(stalled_s: float, between_failures_s: float) -> float:
    """Return the interval, in seconds, at which checkpoints and failures together cost least.

    Args:
        stalled_s: how long training stands still for one checkpoint.
        between_failures_s: mean time between two failures that nothing was saved at.
    """
    return math.sqrt(2 * stalled_s * between_failures_s)


def between_failures(run: Run) -> float:
    """Mean seconds between two failures, as the ledger tells, and ASSUMED_S where it tells little."""
    ended = [attempt.reason for attempt in ledger.read(run)[:-1]]
    failures = sum(reason not in {"done", "stopped"} for reason in ended)
    return (ASSUMED_S + goodput(run).allocated_s) / (1 + failures)


class Interval:
    """The time after which an attempt saves again: as it is set, or from what each checkpoint has cost."""

    def __init__(self, settings: CheckpointSettings, run: Run) -> None:
        """`seconds` is the interval; 0: never by time."""
        self._between_failures_s = between_failures(run) if settings.every == "auto" else None
        self.seconds = 60 * settings.every_minutes if self._between_failures_s is None else FIRST_S

    def saved(self, stalled_s: float, seconds: float) -> None:
        """Choose anew, if that was left to us.

        Args:
            stalled_s: how long training stood still for the last checkpoint.
            seconds: until it was on the disk.
        """
        if self._between_failures_s is not None:
            pays_s = young(stalled_s, self._between_failures_s)
            self.seconds = min(max(pays_s, seconds / DISK_SHARE), LONGEST_S)
