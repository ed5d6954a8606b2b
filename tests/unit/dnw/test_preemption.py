"""What becomes of the helpers of a worker."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import os, time
from dnw.preemption import leave_signals_to_parent
if not os.fork():
    leave_signals_to_parent()
    print("ready", flush=True)
time.sleep(100)
"""


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
