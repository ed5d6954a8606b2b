"""Whether Slurm is asked to start a stopped job again; scontrol is a stand-in that notes what it is asked."""

import os
import signal
from pathlib import Path

import pytest

from dnw.ledger import Attempt
from launch import requeue

PROGRESSED = Attempt(2, {"step": 10}, {"reason": "stopped", "step": 15})
NOT_PROGRESSED = Attempt(2, {"step": 10}, {"reason": "stopped", "step": 10})
UNBEGUN = Attempt(2, None, {"reason": "stopped", "detail": "before the first step"})


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes what it is asked in a file beside itself; it fails where that file can't be written."""
    program = tmp_path / "scontrol"
    program.write_text(
        '#!/bin/sh\necho "$*" 2>/dev/null > "$(dirname "$0")/asked" || { echo no >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return tmp_path / "asked"


def test_ahead_of_the_time_limit_it_is_requeued(scontrol: Path) -> None:
    requeue.go_on(PROGRESSED, signal.SIGUSR2)
    assert scontrol.read_text() == "requeue 7\n"


@pytest.mark.parametrize("attempt", [NOT_PROGRESSED, UNBEGUN])
def test_without_progress_it_would_go_on_for_ever(
    scontrol: Path, attempt: Attempt, capsys: pytest.CaptureFixture[str]
) -> None:
    requeue.go_on(attempt, signal.SIGUSR2)
    assert not scontrol.exists()
    assert "raise cluster.timeout_min; not started again" in capsys.readouterr().err


def test_after_term_it_is_there_for_slurm_to_kill(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(requeue.time, "sleep", slept.append)
    requeue.go_on(PROGRESSED, signal.SIGTERM)
    assert slept == [requeue.LONGEST_GRACE_S]
    assert not scontrol.exists()


def test_a_ctrl_c_is_the_end(scontrol: Path) -> None:
    requeue.go_on(PROGRESSED, signal.SIGINT)
    assert not scontrol.exists()


def test_a_requeue_that_is_refused(scontrol: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scontrol.mkdir()
    requeue.go_on(PROGRESSED, signal.SIGUSR2)
    assert "scontrol requeue 7: no; type the submit command again" in capsys.readouterr().err
