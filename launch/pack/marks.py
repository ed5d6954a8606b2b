"""What has become of single runs of a pack, noted in the folder of its submission.

Slurm knows the job alone, that of the whole pack. So the job marks the runs that it works on no more: those
that are done, have failed or have diverged, or were cancelled, while others go on. And whoever cancels one of
them marks it, which the job looks for. A mark is an empty file, made once and never taken back: there is
nothing to be read half-written, a requeued job finds all of them, and another submission of the run has a
folder of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from dnw.runs.folder import Run

ENDED, CANCELLED = FOLDERS = ("ended", "cancelled")
AGAIN_S = 1.0  # between two tries
UNREAD_S = 60.0  # for which marks may fail: a handle gone stale, a file server that comes back
A = TypeVar("A")
R = TypeVar("R")
Mark = Literal["", "ended", "cancelled"]


def patiently(act: Callable[[A], R], what: A) -> R:
    """Return what marks tell, or make one; again while their folder fails, which may pass.

    Raises:
        OSError: it has failed for UNREAD_S.
    """
    began, told = time.monotonic(), ""
    while True:
        try:
            return act(what)
        except OSError as error:
            if time.monotonic() - began >= UNREAD_S:
                raise
            if str(error) != told:
                told = str(error)
                print(f"{told}; trying again", file=sys.stderr, flush=True)
            time.sleep(AGAIN_S)


@dataclass(frozen=True)
class Marks:
    """The marks in a folder of a submission."""

    folder: Path

    def end(self, run: Run) -> None:
        """Mark a run that the job works on no more, whatever becomes of the others."""
        self._make(ENDED, run)

    def cancel(self, run: Run) -> None:
        """Ask that the job stops one run, saved, and doesn't start it again."""
        self._make(CANCELLED, run)

    def of(self, run: Run) -> Mark:
        """Return how a run was marked, if it was; a job that hasn't begun yet won't start it."""
        if self._path(CANCELLED, run).exists():
            return "cancelled"
        return "ended" if self._path(ENDED, run).exists() else ""

    def cancelled(self, runs: Iterable[Run]) -> set[Run]:
        """Return those of these runs that were cancelled: one listing, which sees what is new."""
        names = self._names(CANCELLED)
        return {run for run in runs if _name(run) in names}

    def unmarked(self, runs: Iterable[Run]) -> set[Run]:
        """Return those of these runs that the job works on, or is going to."""
        names = self._names(ENDED) | self._names(CANCELLED)
        return {run for run in runs if _name(run) not in names}

    def _names(self, mark: str) -> set[str]:
        folder = self.folder / mark
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def _path(self, mark: str, run: Run) -> Path:
        return self.folder / mark / _name(run)

    def _make(self, mark: str, run: Run) -> None:
        path = self._path(mark, run)
        path.parent.mkdir(exist_ok=True)
        path.touch()


def _name(run: Run) -> str:
    return run.name.replace("/", ":")  # no name of a run folder has a colon
