"""End the other workers when one has failed, instead of leaving them in a collective operation.

Torchrun sends them SIGTERM, which they note for the end of a step that never comes: in NCCL a rank waits for
a peer that is gone until torchrun's 30 seconds are over. So they get a signal of its own besides, which tells
a failure from a stop that was asked for, after which everybody saves. A worker takes it in a thread
(dnw/preemption.py), since its main thread may be in C code. Torchrun has no hook for that: what it calls to
end a process is replaced, in a method with an underscore, as torch 2.13 has it; a test that a worker ends
which waits in C code (tests/unit/launch/node/test_job.py) says when that has changed.
"""

from __future__ import annotations

import os
from functools import partial
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from dnw.preemption import PEER_FAILED, STOPPED
from dnw.training.watchdog import HUNG

NO_FAILURE = frozenset({0, STOPPED, HUNG})  # after a hang each worker prints where it stands, then ends


class PeerFailedError(BaseException):  # torchrun, which waits for that node, catches Exception
    """Another node has failed before there were workers here."""


class Peers:
    """The workers of this node, and a signal handler that tells them of a failure on another one."""

    def __init__(self) -> None:
        self.failed_elsewhere = False
        self.is_waiting = False  # for the other nodes
        self.has_begun = False  # to start workers
        self._processes: list[BaseProcess] = []

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal; the interpreter calls this.

        Raises:
            PeerFailedError: it is waiting for the other node, which won't come.
        """
        self.failed_elsewhere = True
        if self.has_begun:
            self._tell()
        elif self.is_waiting:  # a library that is being imported would swallow it
            raise PeerFailedError

    def wait(self) -> None:
        """Begin to wait for the other nodes.

        Raises:
            PeerFailedError: one of them has failed already.
        """
        self.is_waiting = True
        if self.failed_elsewhere:
            raise PeerFailedError

    def follow(self) -> None:
        """Take part in whatever torchrun starts from now on."""
        from torch.distributed.elastic.multiprocessing.api import MultiprocessContext  # noqa: PLC0415  (slow)

        start: Any = MultiprocessContext._start

        def start_and_follow(context: Any) -> None:
            self.has_begun = True
            start(context)
            self._processes = context._pc.processes
            for process in self._processes:
                process.terminate = partial(self._end, process.terminate)  # type: ignore[method-assign]
            if self.failed_elsewhere:
                self._tell()

        MultiprocessContext._start = start_and_follow  # type: ignore[method-assign]

    def _end(self, terminate: Any) -> None:
        """End a worker: torchrun does so to each that lives on when one has ended."""
        if any(process.exitcode not in {None, *NO_FAILURE} for process in self._processes):
            self._tell()
        terminate()

    def _tell(self) -> None:
        for process in self._processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, PEER_FAILED)
