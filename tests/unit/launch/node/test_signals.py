"""What a job tells its agent of the other nodes."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from dnw.runs.claim import Look
from launch.node import signals
from launch.node.signals import SIGNALS, StopRequests

# Ends with how often it was told.
AGENT = """
import signal, time
told = []
signal.signal(signal.SIGRTMIN, lambda *_: told.append(1))
print(flush=True)
while not told:
    time.sleep(0.1)
time.sleep(2.5)
exit(10 + len(told))
"""


@pytest.mark.parametrize(("is_stopping", "code"), [(False, 11), (True, -9)])
def test_an_agent_is_told_once_that_another_node_has_failed(is_stopping: bool, code: int) -> None:
    """But not where a stop was asked for: everybody saves, and has a limit to do that in."""
    stop = StopRequests(impatient=False)
    with subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        stop.signal = signal.SIGTERM if is_stopping else None
        terminated: list[Callable[[], None]] = []
        agent.terminate = lambda: terminated.append(agent.kill)  # type: ignore[method-assign]
        assert stop.watch(agent, 3, lambda: "failed", 1, 0) == code


def test_an_agent_ends_where_its_job_can_read_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would work on beside the next attempt's."""
    monkeypatch.setattr(signals, "LOOK_S", 0.01)

    def stale() -> Look:
        raise OSError(errno.ESTALE, "Stale file handle")

    with subprocess.Popen(["sleep", "600"]) as agent:
        with pytest.raises(OSError, match="Stale"):
            StopRequests(impatient=False).watch(agent, 3, stale, 1, 0)
        assert agent.returncode == -signal.SIGKILL


# Ends with how often it was asked to stop.
SAVING = """
import signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print(flush=True)
until = time.monotonic() + float(__import__("sys").argv[1])
while time.monotonic() < until:
    time.sleep(0.05)
exit(10 + len(asked))
"""


@pytest.mark.parametrize(("pause_s", "code", "lines"), [(0.03, 11, 1), (1.3, -9, 2)])
def test_a_second_ctrl_c_kills_unless_it_bounced(
    capfd: pytest.CaptureFixture[str], pause_s: float, code: int, lines: int
) -> None:
    stop = StopRequests(impatient=True)
    before = signal.getsignal(signal.SIGINT)
    stop.listen()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", SAVING, "4"], stdout=subprocess.PIPE, start_new_session=True
        ) as agent:
            assert agent.stdout is not None
            agent.stdout.readline()
            pressed = [threading.Timer(0.3 + n * pause_s, _press) for n in range(2)]
            for timer in pressed:
                timer.start()
            assert stop.watch(agent, 30, lambda: "works", 1, 0) == code
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, before)
    told = capfd.readouterr().err.splitlines()
    assert told[0] == "saving, then stopping; Ctrl-C again kills without saving"
    assert len(told) == lines


def test_under_nohup_a_hangup_asks_for_nothing() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stop = StopRequests(impatient=False)
        stop.listen()
        signal.raise_signal(signal.SIGHUP)
        assert stop.signal is None
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
