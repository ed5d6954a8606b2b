"""Waiting for runs to end, and saying how they stand meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from dnw.invocation import RUNS
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from launch.query.run_status import RunStatus, query_status

POLL_S = 5.0
LOOKS = 2  # in which nothing works on a run before it counts as ended: between two attempts there may be one
INTERRUPTED = 128 + signal.SIGINT


def wait(runs: Sequence[Run], poll_s: float = POLL_S) -> int:
    """Return when nobody works on the runs any more; a line whenever one comes to stand differently.

    Ctrl-C ends the waiting, not the runs.

    Returns:
        0: all are done. 76: the others have diverged. 1: some have ended otherwise. 130: Ctrl-C.
    """
    told: dict[str, str] = {}
    quiet = 0
    try:
        while True:
            statuses, _ = query_status(runs)
            for one in statuses:
                said = ", ".join(filter(None, [one.state, _reason(one)]))
                if told.get(one.run.name) != said:
                    told[one.run.name] = said
                    print(f"{one.run.name}: {said}", flush=True)
            quiet = 0 if any(one.may_be_at_work for one in statuses) else quiet + 1
            if all(one.is_finished for one in statuses):
                return 0
            if quiet == LOOKS:
                is_else = any(not one.is_finished and one.state != "diverged" for one in statuses)
                return 1 if is_else else DIVERGED
            time.sleep(poll_s)
    except KeyboardInterrupt:
        print(f"no longer waiting; the runs go on: {RUNS} status", flush=True)
        return INTERRUPTED


def _reason(one: RunStatus) -> str:
    """Why it ended so, waits, or can't be told."""
    if one.waits_for:
        return f"after {', '.join(one.waits_for)}"
    if one.state in {"failed", "stopped", "diverged"}:
        return one.why
    return one.problems[0] if one.state == "unreadable" else ""
