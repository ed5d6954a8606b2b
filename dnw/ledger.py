"""The ledger of a run: which attempts there were, and why each of them ended.

Two records an attempt, appended to attempts.jsonl: `start`, and `end` with a reason. The worker of rank 0
writes both; where it could not write its end (killed, out of memory), the launcher that watched it does.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal

from dnw import jsonl
from dnw.run import Run

Reason = Literal["done", "stopped", "error", "killed"]


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt: `end` is None while it runs, or if nothing was left to write its end."""

    number: int
    start: dict[str, Any] | None
    end: dict[str, Any] | None

    @property
    def reason(self) -> str | None:
        """Why it ended."""
        return self.end["reason"] if self.end else None


def append(run: Run, record: dict[str, Any]) -> None:
    """Add one record."""
    jsonl.append(run.attempts, {"time": round(time.time(), 3), **record})


def start(run: Run, attempt: int, **facts: Any) -> None:
    """Say that an attempt has begun."""
    jsonl.keep(run.attempts, lambda record: True)
    append(run, {"attempt": attempt, "event": "start", **facts})


def end(run: Run, attempt: int, reason: Reason, **facts: Any) -> None:
    """Say that an attempt is over, and why."""
    append(run, {"attempt": attempt, "event": "end", "reason": reason, **facts})


def read(run: Run) -> list[Attempt]:
    """All attempts, in order.

    Of several ends the workers wrote the first counts, since the others followed from it; what the launcher
    wrote explains them all.
    """
    starts: dict[int, dict[str, Any]] = {}
    ends: dict[int, dict[str, Any]] = {}
    for record in jsonl.read(run.attempts):
        if record.get("by") == "launcher":
            ends[record["attempt"]] = record
        (starts if record["event"] == "start" else ends).setdefault(record["attempt"], record)
    return [Attempt(n, starts.get(n), ends.get(n)) for n in sorted(starts.keys() | ends.keys())]


def last(run: Run) -> Attempt | None:
    """The newest attempt."""
    attempts = read(run)
    return attempts[-1] if attempts else None


def next_attempt(run: Run) -> int:
    """The number of the attempt that comes next, from 1."""
    newest = last(run)
    return newest.number + 1 if newest else 1
