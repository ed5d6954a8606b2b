"""torchrun's agent of one node, made to stop well: `python -m launch.agent <arguments of torchrun>`.

Plain torchrun dies of USR2, forgets its workers when a second signal arrives while it waits for them, lives
on when the job that started it was killed, and ends with a traceback of its own in each case. A cluster
sends several signals, to every process of a job, and in any order. Here each reason to stop becomes the one
SIGINT that torchrun forwards to its workers, after which it waits for them as long as they were granted.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from dnw.preemption import STOPPED, follow_parent

KILLED = 128  # plus the signal's number, as shells have it


class StopOnce:
    """A signal handler that passes on the first signal as SIGINT, and swallows all that follow."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Called by the interpreter."""
        if not self.asked:
            self.asked = True
            signal.raise_signal(signal.SIGINT)


def main(arguments: list[str]) -> int:
    """Run the workers of this node.

    Returns:
        0 if all workers did; 75 if this agent or a worker was asked to stop; 128 + signal if a signal killed
        a worker; else 1.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if a shell started us with `&`
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, StopOnce())
    try:
        os.environ["DNW_AGENT_PID"] = str(os.getpid())
        follow_parent(int(os.environ.get("DNW_JOB_PID", os.getppid())), signal.SIGTERM)
        return _run(arguments)
    except KeyboardInterrupt:  # before there were workers
        return STOPPED


def _run(arguments: list[str]) -> int:
    logging.disable(logging.ERROR)  # torchrun's: a stop that was asked for, and what `_report` says better
    from torch.distributed import run  # noqa: PLC0415  (launch imports no torch on the login node)
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415

    try:
        run.run(run.parse_args(arguments))
    except SignalException:
        return STOPPED
    except ChildFailedError as error:
        return _report(error.failures)
    return 0


def _report(failures: Mapping[int, Any]) -> int:
    """Say which worker failed first; its own words stand above. Returns this agent's exit code."""
    rank, failure = _cause(failures)
    if failure.exitcode == STOPPED:  # it was asked to stop itself, and all stopped with it
        return STOPPED
    number = -failure.exitcode
    how = f"was killed by {signal.Signals(number).name}" if number > 0 else f"ended with exit code {-number}"
    print(f"worker of rank {rank} (process {failure.pid}) {how}", file=sys.stderr)
    return KILLED + number if number > 0 else 1


def _cause(failures: Mapping[int, Any]) -> tuple[int, Any]:
    """The failure that the others followed from.

    torchrun notes workers in the order in which it found them ended, then sends the rest SIGTERM and later
    SIGKILL, and notes these too. A killed worker and those that miss it can be found in one look.
    """
    first = next(iter(failures.items()))
    at_once = [item for item in failures.items() if item[1].timestamp <= first[1].timestamp + 1]
    return next(
        (item for item in at_once if item[1].exitcode < 0 and item[1].exitcode != -signal.SIGTERM), first
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
