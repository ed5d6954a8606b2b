"""The processes of this machine that work on a run: found by what they hold, not by a number alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from dnw.runs.folder import Run


def holders(run: Run) -> list[int]:
    """Those that hold the run's lock open: its job and, by inheritance, its agent."""
    lock = run.lock.resolve()
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(link.readlink() == lock for link in folder.iterdir()):
                found.append(int(folder.parent.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile, or is somebody else's
    return found


def kill(processes: list[int]) -> None:
    """Kill all of them as if at once: none sees another one die, and acts on it."""
    send(processes, signal.SIGSTOP)
    send(processes, signal.SIGKILL)


def send(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to each of them that is still there."""
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue
