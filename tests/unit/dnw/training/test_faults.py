import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dnw.training import faults

ROOT = Path(__file__).resolve().parents[4]


SIGNALLED = """
import os, signal, subprocess, sys
child = "from dnw.training.faults import reach; reach('step 4'); reach('step 5'); reach('step 5')"
got = []
signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
subprocess.run([sys.executable, "-c", child], env={**os.environ, "DNW_JOB_PID": str(os.getpid())}, check=True)
print(len(got))
"""


def test_a_fault_signals_the_job_once_and_notes_when(tmp_path: Path) -> None:
    note = tmp_path / "note"
    variables = {"DNW_FAULT": "1:step 4;0:step *:SIGTERM@job", "DNW_FAULT_NOTE": str(note)}
    line = [sys.executable, "-c", SIGNALLED]
    assert subprocess.check_output(line, cwd=ROOT, env=os.environ | variables) == b"1\n"
    assert float(note.read_text()) > 1.7e9


def test_one_of_several_faults_is_done_where_its_point_is(monkeypatch: pytest.MonkeyPatch) -> None:
    got = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: got.append(number))
    monkeypatch.setenv("DNW_FAULT", "0:step 5:SIGKILL;0:save step-*:SIGUSR2")
    for point in ("step 4", "save init.pt", "save step-00000004.pt"):
        faults.reach(point)
    signal.signal(signal.SIGUSR2, before)
    assert got == [signal.SIGUSR2]
