"""A job on this machine that begins once other runs are done; under Slurm its script sees to that.

Both start launch/pipeline/gate.py, which asks how these runs stand.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dnw.preemption import STOPPED
from launch.node.signals import StopRequests
from launch.node.timeouts import POLL_S

GATE = "launch.pipeline.gate"  # the module
WAIT = "--wait"  # here, for as long as it takes


@dataclass(frozen=True)
class Gated:
    """Work on a run once others are done; `Gated(...)()` is what submitit calls."""

    job: Callable[[], None]
    folder: Path  # of the run
    after: tuple[Path, ...]  # folders of the others
    nproc: int  # of `job`

    def __call__(self) -> None:
        """Wait, then work.

        Raises:
            SystemExit: one of the others won't be done, or this was asked to stop; or as `job` does.
        """
        stop = StopRequests(impatient=False)
        stop.listen()
        gate = subprocess.Popen([sys.executable, "-m", GATE, WAIT, self.folder, *self.after])
        try:
            while gate.poll() is None and stop.signal is None:
                stop.pause(POLL_S)
        finally:
            if gate.poll() is None:
                gate.terminate()
        code = gate.wait()
        if stop.signal is not None:
            sys.exit(STOPPED)
        if code:
            sys.exit(code)
        self.job()
