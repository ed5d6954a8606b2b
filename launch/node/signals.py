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
from dnw.runs.claim import Look
from launch.node.timeouts import LOOK_S, POLL_S
from shards.terminal import ONE_PRESS_S

SIGNALS = (*preemption.SIGNALS, signal.SIGHUP)


def requested() -> bool:
    """Return whether the job that listens in this process, or has listened last, was asked to stop.

    Its handlers stay when it has ended: a request that comes between two runs of a sweep is told here.
    """
    return count() > 0


def count() -> int:
    """Return how many signals have asked that job to stop."""
    listening = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return listening.count if isinstance(listening, StopRequests) else 0


class StopRequests:
    """Signals that ask this process to stop."""

    def __init__(self, impatient: bool) -> None:
        """`impatient`: a second SIGINT, from someone at the terminal, kills, and both are answered.

        One that follows the first within ONE_PRESS_S doesn't: a key that bounces must not cost what is being
        saved.
        """
        self.impatient = impatient
        self.signal: signal.Signals | None = None
        self.count = 0  # of the signals that came
        self._agent: subprocess.Popen[bytes] | None = None
        self._asked_at = 0.0

    def listen(self) -> None:
        """Receive signals from now on, for as long as this process lives.

        submitit's own handlers would checkpoint a pickle, and requeue a job that has just been dealt with.
        """
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # by nohup
                signal.signal(number, self._receive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # those that came before: launch/pack/child.py

    def watch(
        self,
        agent: subprocess.Popen[bytes],
        patience_s: float,
        look: Callable[[], Look],
        pause_s: float,
        first_pause_s: float,
    ) -> int:
        """Wait for the agent to end, and return its exit code.

        When the agent is killed its workers die with it: the kernel sees to that.

        Args:
            agent: the process.
            patience_s: after so many seconds from a stop request on, the agent is killed.
            look: how the attempt stands. Once a later one has taken over, the agent is killed; where it has
                failed on another node, and no stop was asked for, the agent is told so, once.
            pause_s: between two looks.
            first_pause_s: before the first one.
        """
        self._agent = agent
        looks_at, is_told = time.monotonic() + first_pause_s, False
        if self.signal is not None:  # it came while the agent was being started
            agent.terminate()
        try:
            while True:
                left_s = max(looks_at - time.monotonic(), 0.0)
                try:
                    return agent.wait(timeout=min(left_s, LOOK_S))
                except subprocess.TimeoutExpired:
                    now = time.monotonic()
                    if self.signal is not None and now - self._asked_at > patience_s:
                        agent.kill()
                    if now < looks_at:
                        continue
                    looks_at, stands = max(looks_at + pause_s, now), look()
                    if stands == "superseded":
                        agent.kill()
                    elif stands == "failed" and self.signal is None and not is_told:
                        is_told = True
                        agent.send_signal(PEER_FAILED)
        except BaseException:  # the run folder can't be read, say: nobody else would end the agent
            agent.kill()
            agent.wait()
            raise
        finally:
            self._agent = None

    def pause(self, seconds: float) -> None:
        """Sleep so long, or until a stop is asked for."""
        until = time.monotonic() + seconds
        while self.signal is None and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, POLL_S))

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
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
