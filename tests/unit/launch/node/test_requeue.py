"""Whether Slurm is asked to start a stopped job again; scontrol is a stand-in that notes what it is asked."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.node import requeue
from launch.node.topology import Node

NODE = Node(0, 2, "n1", "n1", "7", 0, ("n1", "n2"), in_slurm=True)


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes what it is asked in a file beside itself; it fails where that file can't be written."""
    program = tmp_path / "scontrol"
    program.write_text(
        '#!/bin/sh\necho "$*" 2>/dev/null >> "$(dirname "$0")/asked" || { echo no >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "asked"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited to be killed."""
    waits: list[float] = []
    monkeypatch.setattr(requeue, "time", SimpleNamespace(sleep=waits.append))
    return waits


def stopped(folder: Path, cause: str | None, first: int = 10, saved: int = 15) -> Run:
    run = Run(folder)
    ledger.claim(run, 1, job="7", restart=0, hosts=["n1", "n2"])
    ledger.start(run, 1, step=first)
    more = {"cause": cause} if cause else {}
    ledger.end(run, 1, "stopped", step=saved, saved=saved, **more)
    return run


def test_ahead_of_the_time_limit_it_is_requeued(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    requeue.after_stop(stopped(tmp_path, "timeout"), NODE, signal.SIGUSR2)
    assert scontrol.read_text() == "requeue 7\n"
    assert slept == []


def test_without_progress_it_would_go_on_for_ever(
    tmp_path: Path, scontrol: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requeue.after_stop(stopped(tmp_path, "timeout", saved=10), NODE, signal.SIGUSR2)
    assert not scontrol.exists()
    assert "raise cluster.timeout_min; not started again" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_what_has_diverged_is_not_requeued(
    tmp_path: Path, scontrol: Path, slept: list[float], number: signal.Signals
) -> None:
    """Preempted, say, while it was ending."""
    run = stopped(tmp_path, None)
    ledger.end(run, 1, "diverged", by="launcher", saved=15)
    requeue.after_stop(run, NODE, number)
    assert not scontrol.exists()
    assert slept == []


@pytest.mark.parametrize(("number", "asked"), [(signal.SIGTERM, "requeue 7\n"), (signal.SIGINT, "")])
def test_a_signal_that_slurm_knows_nothing_of(
    tmp_path: Path, scontrol: Path, slept: list[float], number: signal.Signals, asked: str
) -> None:
    requeue.after_stop(stopped(tmp_path, "signalled"), NODE, number)
    assert (scontrol.read_text() if scontrol.exists() else "") == asked
    assert slept == []


def test_preempted_it_frees_its_nodes_at_once(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    """Also where it made no step: that isn't its fault."""
    requeue.after_stop(stopped(tmp_path, "preempted", saved=10), NODE, signal.SIGTERM)
    assert scontrol.read_text() == "requeue 7\n"
    assert slept == []


def test_where_slurm_can_not_be_asked_it_is_there_to_be_killed(
    tmp_path: Path, scontrol: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    scontrol.mkdir()
    requeue.after_stop(stopped(tmp_path, "preempted"), NODE, signal.SIGTERM)
    assert slept == [requeue.LONGEST_GRACE_S]
    said = capsys.readouterr().err
    assert (
        "job 7 not requeued (preempted; Slurm may start it again): scontrol: no; should it not go on" in said
    )


def test_a_term_that_nobody_explains(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    requeue.after_stop(stopped(tmp_path, None), NODE, signal.SIGTERM)
    assert slept == [requeue.LONGEST_GRACE_S]
    assert not scontrol.exists()


@pytest.mark.parametrize("cause", ["requeued", "cancelled", "node failure"])
def test_what_slurm_has_decided_is_decided(
    tmp_path: Path, scontrol: Path, slept: list[float], cause: str
) -> None:
    requeue.after_stop(stopped(tmp_path, cause), NODE, signal.SIGTERM)
    assert slept == []
    assert not scontrol.exists()


def test_a_ctrl_c_is_the_end(tmp_path: Path, scontrol: Path, slept: list[float]) -> None:
    requeue.after_stop(stopped(tmp_path, None), NODE, signal.SIGINT)
    assert slept == []
    assert not scontrol.exists()


def test_nodes_that_failed_twice_are_left(
    tmp_path: Path, scontrol: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requeue.elsewhere(NODE, ["n2"])
    assert scontrol.read_text() == "requeue 7\nupdate JobId=7 ExcNodeList=n2\n"
    assert "n2 failed twice: excluded from now on" in capsys.readouterr().err
