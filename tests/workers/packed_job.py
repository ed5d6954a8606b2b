"""A stand-in for the Job of a run in a pack: it ends in all the ways there are."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dnw.preemption import STOPPED
from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from launch.node.signals import StopRequests


@dataclass(frozen=True)
class PackedJob:
    """Works on a run: `act` says how that goes."""

    folder: Path
    act: str
    cause: str = "preempted"  # of its end, where it is stopped

    def __call__(self) -> None:
        """Do it; raises SystemExit, as Job does."""
        run, number = Run(self.folder), ledger.next_attempt(Run(self.folder))
        if self.act == "absent":
            sys.exit("it can't begin")
        asked = StopRequests(impatient=False)
        asked.listen()
        ledger.claim(run, number, job="7_0", restart=0, path=os.environ["PYTHONPATH"], pid=os.getpid())
        ledger.start(run, number, step=0)
        if self.act == "vanish":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "fail":
            ledger.end(run, number, "error", detail="it went wrong")
            sys.exit(1)
        if self.act == "diverge":
            ledger.end(run, number, "diverged")
            sys.exit(DIVERGED)
        while self.act == "wait" and asked.signal is None:
            time.sleep(0.01)
        if asked.signal is not None:
            ledger.end(run, number, "stopped", step=5, saved=5, cause=self.cause, signal=asked.signal)
            sys.exit(STOPPED)
        ledger.end(run, number, "done")
        run.result.write_text("{}")
