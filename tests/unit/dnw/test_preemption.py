"""What becomes of the helpers of a worker."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnw.preemption import end_children

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import os, time
from dnw.preemption import leave_signals_to_parent
if not os.fork():
    leave_signals_to_parent()
    print("ready", flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("has_died_before", [False, True])
def test_a_process_follows_another_that_is_not_its_parent(has_died_before: bool) -> None:
    followed = subprocess.Popen(["sleep", "60"])
    if has_died_before:
        followed.kill()
        followed.wait()
    code = f"import signal, time; from dnw.preemption import follow; follow([{followed.pid}], signal.SIGTERM)"
    follower = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert follower.stdout is not None
    follower.stdout.readline()
    assert has_died_before or follower.poll() is None
    followed.kill()
    followed.wait()
    follower.communicate(timeout=30)
    assert follower.returncode == -signal.SIGTERM


def test_a_helper_ends_with_its_worker() -> None:
    """Its pipes are closed then, and who reads them knows: the agent waits for the end of one."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        began = time.monotonic()
        worker.kill()
        assert worker.stdout.read() == ""  # both have closed it
        assert time.monotonic() < began + 50


def test_nobody_is_told_of_helpers_that_are_ended() -> None:
    """A DataLoader's handler raises, and a worker that was done would end as if it had failed."""

    def refuse(*_: object) -> None:
        raise RuntimeError("DataLoader worker is killed by signal: Killed")

    before = signal.signal(signal.SIGCHLD, refuse)
    try:
        helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,), daemon=True)
        helper.start()
        end_children()
        helper.join()
        assert helper.exitcode == -signal.SIGKILL
    finally:
        signal.signal(signal.SIGCHLD, before)
