"""Processes that hang, in a process of their own each."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
HEAD = """
import time
from dnw.training.watchdog import Watchdog
dog = Watchdog({seconds}, lambda step: print("last word after step", step, flush=True))
dog.start()
"""


def run(code: str, seconds: float) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", HEAD.format(seconds=seconds) + code]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_progress_keeps_it_quiet() -> None:
    done = run("for step in range(20):\n    time.sleep(0.1)\n    dog.progress(step)\nprint('done')", 1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_hang_prints_all_stacks_and_ends_the_process() -> None:
    done = run("dog.progress(7)\ndef stuck():\n    time.sleep(60)\nstuck()", 1)
    assert done.returncode == 70
    assert done.stdout == "last word after step 7\n"
    assert "no progress for 1 s after step 7 (watchdog.seconds); stacks:" in done.stderr
    assert "in stuck" in done.stderr


@pytest.mark.parametrize("seconds", [0, 1])
def test_suspended_is_not_hung(seconds: int) -> None:
    """0: no watchdog at all."""
    line = [sys.executable, "-c", HEAD.format(seconds=seconds) + "input(); time.sleep(0.2); print('done')"]
    process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        time.sleep(0.5)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate("\n", timeout=30)
    assert out == "done\n"
