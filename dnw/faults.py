"""Faults on purpose, by name, for tests and rehearsals.

`DNW_FAULT="1:step 7"` has rank 1 kill itself with SIGKILL when it reaches the point named `step 7`;
`DNW_FAULT="1:step 7:SIGTERM"` has it send itself that signal instead, `DNW_FAULT="1:step 7:HANG"` has it wait
for ever; a fourth word names the only attempt in which that happens, a fifth a file that has to be there
first, since checkpoints are written beside the steps. Points: `step N` when N steps are done, `evaluate N`
amid an evaluation, `save FILE` when a checkpoint is written but not published yet.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path


def reach(point: str) -> None:
    """Do to this process what was asked for at this point, if anything was."""
    asked = os.environ.get("DNW_FAULT")
    if not asked:
        return
    rank, where, what, attempt, awaited, *_ = [*asked.split(":"), "", "", "", ""]
    if point != where or os.environ.get("RANK", "0") != rank:
        return
    if attempt not in {"", os.environ.get("DNW_ATTEMPT", "")}:
        return
    while awaited and not Path(awaited).exists():
        time.sleep(0.01)
    if what == "HANG":
        threading.Event().wait()
    os.kill(os.getpid(), signal.Signals[what or "SIGKILL"])
