"""Follows a run and keeps a tracker up to date, until it is told that the run's job is over.

    python -m dnw.tracking RUN mlflow

The launcher starts one for each tracker, beside the workers. It ends once its standard input does: the job
has closed that, or is gone. What it could not send, the next one does, or `runs.py track`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

from dnw.preemption import SIGNALS
from dnw.runs.folder import Run
from dnw.tracking import problems
from dnw.tracking.credentials import Redacted
from dnw.tracking.facts import read_facts
from dnw.tracking.making import make
from dnw.tracking.pictures import PictureReader
from dnw.tracking.rows import RowReader
from dnw.tracking.tracker import NAMES, Tracker
from shards import command
from shards.errors import ExpectedError
from shards.flock import flock

PERIOD_S, LONGEST_PAUSE_S = 5.0, 300.0
LAST_S = (1.0, 2.0)  # before trying again at the end, where the tracker was there until then
EVERY_S = "DNW_TRACK_EVERY_S"  # a variable: another period


class HeldError(ExpectedError):
    """Another process sends this run to this tracker."""


def main(arguments: Sequence[str]) -> int:
    """Follow a run; 0 if all of it is sent."""
    parser = command.Parser(prog="python -m dnw.tracking", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=command.path)
    parser.add_argument("tracker", choices=NAMES)
    asked = parser.parse_args(arguments)
    for number in SIGNALS:  # they go to all processes of a job, and its end is what counts
        signal.signal(number, signal.SIG_IGN)
    sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)
    return follow(Run(asked.run), asked.tracker, _is_over, float(os.environ.get(EVERY_S, PERIOD_S)))


def follow(run: Run, name: str, is_over: Callable[[float], bool], period_s: float = PERIOD_S) -> int:
    """Send what is new, again and again.

    Args:
        run: to follow.
        name: of the tracker.
        is_over: waits for so many seconds, and returns whether the job is over before.
        period_s: seconds between two looks; longer after failures.

    Returns:
        0 if all was sent at the end, else 1.
    """
    pause_s, said = period_s, ""
    following = _Following(run, name)
    while not is_over(pause_s):
        said = _tell(following.send(), said)
        pause_s = period_s if following.is_answered else min(2 * pause_s, LONGEST_PAUSE_S)
    for again_s in (*LAST_S, None) if following.is_answered else [None]:
        said = _tell(following.send(is_last=True), said)
        if following.is_answered or again_s is None:
            break
        time.sleep(again_s)
    return 1 if said else 0


class _Following:
    """One run at one tracker, again after each failure."""

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name = run, name
        self._sender: Sender | None = None
        self.is_answered = True  # the last time

    def send(self, is_last: bool = False) -> str:
        """Send what is new; return what could not be sent, and why."""
        try:
            self._sender = self._sender or Sender(self._run, self._name)
            self._sender.send(time.time())
            problem = self._sender.tracker.unsent
            if is_last:
                self._sender.end()
        except (ExpectedError, OSError) as error:
            if self._sender is not None:
                self._sender.drop()
            self._sender, self.is_answered = None, False
            return str(error)
        self.is_answered = True
        return problem


class Sender:
    """A run, and what has been sent of it to one tracker; nobody else sends it there meanwhile.

    Raises:
        HeldError: somebody else does.
        TrackerError: the tracker can't be reached.
    """

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._rows, self._pictures = run, RowReader(run), PictureReader(run)
        run.tracking.mkdir(exist_ok=True)
        self._lock = (run.tracking / f"{name}.lock").open("ab")
        try:
            if flock(self._lock) == "held":
                raise HeldError(
                    f"{name}: another process, the run's own perhaps, sends {run.name} there already"
                )
            self.tracker: Tracker = make(name)
            self.tracker.begin(read_facts(run))
        except BaseException:
            self._lock.close()
            raise

    def send(self, now: float | None = None) -> int:
        """Send what is new; the number of rows that were. Where that fails, another sender begins anew."""
        facts = read_facts(self._run)
        rows = self._rows.new(now if facts.state == "running" else None)
        return self.tracker.send(facts, rows, self._pictures.new())

    def end(self) -> None:
        """Let go of it, once all is sent."""
        self.tracker.end(read_facts(self._run))
        self._lock.close()

    def drop(self) -> None:
        """Let go of it after a failure."""
        self._lock.close()


def _tell(problem: str, before: str) -> str:
    """Print what is another problem than before, or that there is none any more; return it."""
    if problem != before:
        print(problems.line(problem), flush=True)
    return problem


def _is_over(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready)
