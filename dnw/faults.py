"""Faults on purpose, by name, for tests and rehearsals.

`DNW_FAULT="1:step 7"` has rank 1 kill itself with SIGKILL when it reaches the point named `step 7`;
`DNW_FAULT="1:step 7:SIGTERM"` has it send itself that signal instead, `DNW_FAULT="1:step 7:HANG"` has it wait
for ever; a fourth word names the only attempt in which that happens. Points: `step N` when N steps are done,
`evaluate N` amid an evaluation, `save FILE` when a checkpoint is written but not published yet.
"""

from __future__ import annotations

import os
import signal
import threading

_RANK, _POINT, _WHAT, _ATTEMPT, *_ = [*os.environ.get("DNW_FAULT", "").split(":"), "", "", "", ""]


def reach(point: str) -> None:
    """Do to this process what was asked for at this point, if anything was."""
    if not _POINT or point != _POINT or os.environ.get("RANK", "0") != _RANK:
        return
    if _ATTEMPT not in {"", os.environ.get("DNW_ATTEMPT", "")}:
        return
    if _WHAT == "HANG":
        threading.Event().wait()
    os.kill(os.getpid(), signal.Signals[_WHAT or "SIGKILL"])
