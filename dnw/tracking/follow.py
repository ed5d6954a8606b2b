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
from dnw.tracking.credentials import Redacted
from dnw.tracking.facts import read_facts
from dnw.tracking.making import make
from dnw.tracking.rows import rows
from dnw.tracking.tracker import NAMES, Tracker
from shards import command
from shards.errors import ExpectedError
from shards.flock import flock

PERIOD_S, LONGEST_PAUSE_S = 5.0, 300.0
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
    sender: Sender | None = None
    while True:
        over = is_over(pause_s)
        try:
            sender = sender or Sender(run, name)
            sender.send(time.time())
            problem = sender.tracker.unsent
            if over:
                sender.end()
            pause_s = period_s
        except (ExpectedError, OSError) as error:
            if sender is not None:
                sender.drop()
            sender, pause_s = None, min(2 * pause_s, LONGEST_PAUSE_S)
            problem = str(error)
        if problem != said:
            _say(problem or "sent again")
        said = problem
        if over:
            return 1 if said else 0


class Sender:
    """A run, and what has been sent of it to one tracker; nobody else sends it there meanwhile.

    Raises:
        HeldError: somebody else does.
        TrackerError: the tracker can't be reached.
    """

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
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
        """Send what is new; the number of rows that were."""
        facts = read_facts(self._run)
        return self.tracker.send(facts, rows(self._run, now if facts.state == "running" else None))

    def end(self) -> None:
        """Let go of it, once all is sent."""
        self.tracker.end(read_facts(self._run))
        self._lock.close()

    def drop(self) -> None:
        """Let go of it after a failure."""
        self._lock.close()


def _say(line: str) -> None:
    print(f"{time.strftime('%F %T')}  {line}", flush=True)


def _is_over(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready)
