"""Why an attempt ended: from what it left behind, into the ledger and as a last word."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from dnw import ledger
from dnw.ledger import Attempt, Reason
from dnw.preemption import STOPPED
from dnw.run import Run

DONE, FAILED = 0, 1
LAST_LINES = 15


def conclude(run: Run, attempt: int, code: int, asked: signal.Signals | None, log: Path | None) -> int:
    """Complete the ledger, and say how the attempt ended.

    Args:
        run: the run, whose lock is still held.
        attempt: its number.
        code: the agent's exit code, negative if a signal killed it.
        asked: the signal that asked it to stop, if any did.
        log: what the workers printed; None: they printed to the terminal.

    Returns:
        0 done, 75 stopped on request with everything saved, 1 failed.
    """
    found = next((one for one in ledger.read(run) if one.number == attempt), Attempt(attempt, None, None))
    if run.result.exists():
        if found.end is None:
            ledger.end(run, attempt, "done", by="launcher")
        return DONE
    reason, detail = found.reason, str((found.end or {}).get("detail", "no reason given"))
    judged = _judge(found, code, asked, log)
    if judged is not None:
        reason, detail = judged
        ledger.end(run, attempt, judged[0], detail=detail, by="launcher")
    if reason == "stopped":
        by = f" ({asked.name})" if asked else ""
        _say(f"{run.name}: attempt {attempt} stopped on request{by}; the same command resumes it")
        return STOPPED
    _say(f"{run.name}: attempt {attempt} failed ({reason}): {detail}")
    if log is not None:
        _say("\n".join(f"  {line}" for line in _tail(log)))
        _say(f"the whole log: {log}")
    return FAILED


def _judge(
    found: Attempt, code: int, asked: signal.Signals | None, log: Path | None
) -> tuple[Reason, str] | None:
    """What the workers could not record, or did not know; None if they have said it all."""
    if asked is not None and found.start is None and found.end is None:
        return "stopped", "before the first step"
    if asked is not None and found.reason == "stopped":
        return None  # saved; what signals came while it was ending doesn't matter
    number = -code if code < 0 else code - 128
    if number > 0:  # what the others recorded, a connection closed by a peer, followed from this
        return "killed", f"by {signal.Signals(number).name}"
    if found.end is not None and (found.reason != "stopped" or asked is not None or code == STOPPED):
        return None  # else: torchrun made the others stop because one of them had failed
    if asked is not None:
        return "killed", f"not saved in the time granted after {asked.name}"
    lines = _tail(log) if log is not None else []
    return "error", lines[-1] if lines else f"exit code {code}"


def _tail(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line for line in lines if line.strip()][-LAST_LINES:]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
