"""A job on this machine that begins once other runs are done; under Slurm its script sees to that.

Both start launch/pipeline/gate.py, which asks how these runs stand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dnw.preemption import STOPPED
from launch.node.signals import StopRequests
from launch.node.timeouts import POLL_S

GATE = "launch.pipeline.gate"  # the module
WAIT = "--wait"  # here, for as long as it takes
PACK = "--pack"  # for runs that share a job


@dataclass(frozen=True)
class Gated:
    """Work on a run once others are done; `Gated(...)()` is what submitit calls."""

    job: Callable[[], None]
    folder: Path  # of the run
    after: tuple[Path, ...]  # folders of the others
    nproc: int  # of `job`
    variables: Mapping[str, str] = field(default_factory=dict)  # of the gate's environment

    def __call__(self) -> None:
        """Wait, then work.

        Raises:
            SystemExit: one of the others won't be done, or this was asked to stop; or as `job` does.
        """
        stop = StopRequests(impatient=False)
        stop.listen()
        words = [sys.executable, "-m", GATE, WAIT, *map(str, [self.folder, *self.after])]
        gate = subprocess.Popen(words, env={**os.environ, **self.variables})
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
