"""What a job tells its agent of the other nodes."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from launch.node import job
from launch.node.signals import StopRequests

# Ends with how often it was told.
AGENT = """
import signal, time
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
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
        assert stop.watch(agent, 3, lambda: True, lambda: True) == code


@pytest.mark.parametrize(
    ("codes", "failed"), [([], False), ([0, 75, 70], False), ([0, 1], True), ([137], True)]
)
def test_which_reports_are_of_a_failure(tmp_path: Path, codes: list[int], failed: bool) -> None:
    claim = Claim.take_over(Run(tmp_path))
    for node, code in enumerate(codes):
        claim.report(node, code=code)
    assert job._has_failed(claim) == failed
