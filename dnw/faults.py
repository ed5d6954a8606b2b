"""Faults on purpose, by name, for tests and rehearsals.

`DNW_FAULT="1:step 7"` has rank 1 kill itself with SIGKILL when it reaches the point named `step 7`;
`DNW_FAULT="1:step 7:SIGTERM"` has it send itself that signal instead. Points: `step N` when N steps are done,
`evaluate N` amid an evaluation, `save FILE` when a checkpoint is written but
not published yet.
"""

from __future__ import annotations

import os
import signal

_RANK, _, _REST = os.environ.get("DNW_FAULT", "").partition(":")
_POINT, _, _SIGNAL = _REST.partition(":")


def reach(point: str) -> None:
    """Send this process the signal that was asked for at this point, if any was."""
    if _POINT and point == _POINT and os.environ.get("RANK", "0") == _RANK:
        os.kill(os.getpid(), signal.Signals[_SIGNAL or "SIGKILL"])
