"""Stop requests on a node: signals, passed on to the agent that runs there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from dnw import preemption
from dnw.preemption import PEER_FAILED
from launch.node.timeouts import LOOK_S
from shards.terminal import ONE_PRESS_S

SIGNALS = (*preemption.SIGNALS, signal.SIGHUP)


class StopRequests:
    """Signals that ask this process to stop."""

    def __init__(self, impatient: bool) -> None:
        """`impatient`: a second SIGINT, from someone at the terminal, kills, and both are answered.

        One that follows the first within ONE_PRESS_S doesn't: a key that bounces must not cost what is being
        saved.
        """
        self.impatient = impatient
        self.signal: signal.Signals | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self._asked_at = 0.0

    def listen(self) -> None:
        """Receive signals from now on, for as long as this process lives.

        submitit's own handlers would checkpoint a pickle, and requeue a job that has just been dealt with.
        """
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def watch(
        self,
        agent: subprocess.Popen[bytes],
        patience_s: float,
        holds: Callable[[], bool],
        has_failed_elsewhere: Callable[[], bool],
    ) -> int:
        """Wait for the agent to end, and return its exit code.

        When the agent is killed its workers die with it: the kernel sees to that.

        Args:
            agent: the process.
            patience_s: after so many seconds from a stop request on, the agent is killed.
            holds: whether the attempt's claim holds; once it doesn't, the agent is killed.
            has_failed_elsewhere: whether another node has failed; unless a stop was asked for, the agent is
                told so once.
        """
        self._agent = agent
        is_told = False
        if self.signal is not None:  # it came while the agent was being started
            agent.terminate()
        try:
            while True:
                try:
                    return agent.wait(timeout=LOOK_S)
                except subprocess.TimeoutExpired:
                    too_late = self.signal is not None and time.monotonic() - self._asked_at > patience_s
                    if too_late or not holds():
                        agent.kill()
                    elif self.signal is None and not is_told and has_failed_elsewhere():
                        is_told = True
                        agent.send_signal(PEER_FAILED)
        except BaseException:  # the run folder can't be read, say: nobody else would end the agent
            agent.kill()
            agent.wait()
            raise
        finally:
            self._agent = None

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._asked_at = signal.Signals(number), time.monotonic()
            self._say("saving, then stopping; Ctrl-C again kills without saving")
            if self._agent is not None:
                self._agent.terminate()
        elif self.impatient and number == signal.SIGINT and time.monotonic() - self._asked_at > ONE_PRESS_S:
            self._say("Ctrl-C again: killed; the same command resumes from the last checkpoint")
            if self._agent is not None:
                self._agent.kill()

    def _say(self, line: str) -> None:
        if self.impatient:
            with contextlib.suppress(OSError):  # sys.stderr may be at work: it can't be entered twice
                os.write(sys.stderr.fileno(), f"{line}\n".encode())
