"""The ledger of a run: which attempts there were, how far each came, and why it ended.

Records, appended to attempts.jsonl, of four events an attempt, and of `code`: the run's code was replaced
before that attempt.

- `claim`, by the launcher: the attempt has taken the run over; job, restart, hosts;
- `start`, by the worker of rank 0: the checkpoint is loaded, of `step`; world, nodes, device; and how far the
  attempt before had logged, `found`, since that is cut back now;
- `step`, by the same: the first step is done;
- `end`, with a `reason` (how) and, where the cluster told it, a `cause` (why). The workers write it; where
  they could not (killed, out of memory), the launcher that watched them does, or the next attempt.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal

from dnw.runs import jsonl
from dnw.runs.folder import Run

# stopped: on request, saved. hung: the watchdog ended it. lost: it vanished with its node, or was cut off.
# unfit: a node could not take part, or (`fault` is "node" then) was found so before the first step.
# diverged: dnw/runs/divergence.py. dependency: a run that has to be done before won't be; nothing began.
Reason = Literal["done", "stopped", "error", "killed", "hung", "lost", "unfit", "diverged", "dependency"]
EVENTS = frozenset({"claim", "start", "step", "end"})
Cause = Literal["preempted", "timeout", "requeued", "cancelled", "signalled", "node failure"]


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt; what has not happened (yet) is None."""

    number: int
    claim: dict[str, Any] | None = None
    start: dict[str, Any] | None = None
    step: dict[str, Any] | None = None
    end: dict[str, Any] | None = None

    @property
    def reason(self) -> str | None:
        """How it ended."""
        if self.end is None:
            return None
        is_old = self.end["reason"] == "killed" and self.end.get("fault") == "node"  # as ledgers had it once
        return "unfit" if is_old else str(self.end["reason"])

    @property
    def cause(self) -> str | None:
        """Why it ended: what the cluster did, as far as it is known, else how it ended."""
        return self.end.get("cause", self.reason) if self.end else None

    @property
    def job(self) -> str | None:
        """The cluster's name of the job that it was an attempt of."""
        return self.claim["job"] if self.claim else None

    @property
    def first_step(self) -> int | None:
        """The step that it went on after."""
        return self.start["step"] if self.start else None

    @property
    def last_step(self) -> int | None:
        """How many steps were done when it ended, saved or not; None where nobody could tell."""
        return self.end.get("step") if self.end else None


def append(run: Run, record: dict[str, Any]) -> None:
    """Add one record."""
    jsonl.append(run.attempts, {"time": round(time.time(), 3), **record})


def claim(run: Run, attempt: int, **facts: Any) -> None:
    """Say that an attempt has taken the run over."""
    append(run, {"attempt": attempt, "event": "claim", **facts})


def start(run: Run, attempt: int, **facts: Any) -> None:
    """Say that an attempt is about to train."""
    append(run, {"attempt": attempt, "event": "start", **facts})


def first_step(run: Run, attempt: int, step: int) -> None:
    """Say that an attempt has done its first step, the run's number `step`.

    Args:
        run: whose ledger.
        attempt: its number.
        step: of the run, the first of this attempt.
    """
    append(run, {"attempt": attempt, "event": "step", "step": step})


def end(run: Run, attempt: int, reason: Reason, **facts: Any) -> None:
    """Say that an attempt is over, and why.

    Args:
        run: whose ledger.
        attempt: its number.
        reason: in one word.
        facts: more about it: detail, cause, node, ...
    """
    append(run, {"attempt": attempt, "event": "end", "reason": reason, **facts})


def code(run: Run, attempt: int, **facts: Any) -> None:
    """Say that other code is used from this attempt on."""
    append(run, {"attempt": attempt, "event": "code", **facts})


def code_changes(run: Run) -> list[dict[str, Any]]:
    """Return what other code was used than the one that the run began with.

    Returns:
        a record for each: digest, commit, dirty; the first attempt that used it, and the step after which.
    """
    used: dict[int, dict[str, Any]] = {}  # of two before the same attempt, the first was never used
    attempts = read(run)
    for record in jsonl.read(run.attempts):
        if record.get("event") == "code":
            began = [
                one for one in attempts if one.number >= record["attempt"] and one.first_step is not None
            ]
            if began:
                facts = {name: record.get(name) for name in ("digest", "commit", "dirty")}
                used[began[0].number] = {"attempt": began[0].number, "step": began[0].first_step, **facts}
    return list(used.values())


def read(run: Run) -> list[Attempt]:
    """All attempts, in order.

    Of several ends that the workers wrote the first counts, since the others followed from it, unless it was
    but a peer's (dnw/hardware/gpu_fault.py); what the launcher wrote explains them all, and adds to what they
    said.
    """
    events: dict[int, dict[str, dict[str, Any]]] = {}
    for record in jsonl.read(run.attempts):
        if record.get("event") not in EVENTS:  # a later version's
            continue
        known = events.setdefault(record["attempt"], {})
        earlier = known.get(record["event"])
        if earlier is None:
            known[record["event"]] = record
        elif record.get("by") != "launcher":
            if earlier.get("fault") == "peer" and record.get("fault") != "peer":
                known[record["event"]] = record
        else:
            known[record["event"]] = {**earlier, **record, "time": earlier["time"]}
    return [Attempt(number, **known) for number, known in sorted(events.items())]


def last(run: Run) -> Attempt | None:
    """Return the newest attempt."""
    attempts = read(run)
    return attempts[-1] if attempts else None


def next_attempt(run: Run) -> int:
    """Return the number of the attempt that comes next, from 1."""
    newest = last(run)
    return newest.number + 1 if newest else 1
