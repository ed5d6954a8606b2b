"""What is learned of earlier attempts when the next one begins; sacct and sinfo are stand-ins."""

import os
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.ledger import Reason
from launch.node import backfill
from launch.node.topology import Node

SECOND = Node(0, 2, "n1", "7", 1, ("n1", "n3"), in_slurm=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with one attempt that was begun."""
    run = Run(tmp_path)
    ledger.claim(run, 1, job="7", restart=0, hosts=["n1", "n2"])
    ledger.start(run, 1, step=0)
    return run


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands; n2 is down."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    says(folder, "sinfo", "n1 idle\nn2 down*")
    return folder


def says(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    path.chmod(0o755)


def test_an_attempt_that_left_no_word(run: Run, slurm: Path) -> None:
    says(slurm, "sacct", "7|NODE_FAIL")
    backfill.complete(run, SECOND)
    (attempt,) = ledger.read(run)
    assert (attempt.reason, attempt.cause) == ("lost", "node failure")
    assert attempt.end is not None
    assert attempt.end["node"] == "n2"


def test_of_which_nobody_knows_anything(run: Run) -> None:
    backfill.complete(run, Node(0, 1, "", "99", 0, ("here",)))
    (attempt,) = ledger.read(run)
    assert attempt.end is not None
    assert attempt.end["detail"] == "nothing is left that could say why"


@pytest.mark.parametrize(
    ("reason", "told", "accounts", "cause"),
    [
        ("stopped", {"cause": "requeued"}, "PREEMPTED", "preempted"),  # it looked the same from inside
        ("stopped", {"cause": "timeout"}, "REQUEUED", "timeout"),  # it requeued itself
        ("stopped", {}, "CANCELLED by 0", "cancelled"),
        ("hung", {}, "NODE_FAIL", "node failure"),  # the others had been cut off
        ("killed", {}, "REQUEUED", "killed"),  # it left a node that failed twice
    ],
)
def test_causes(
    run: Run, slurm: Path, reason: Reason, told: dict[str, str], accounts: str, cause: str
) -> None:
    ledger.end(run, 1, reason, step=5, **told)
    says(slurm, "sacct", f"7|{accounts}")
    backfill.complete(run, SECOND)
    (attempt,) = ledger.read(run)
    assert (attempt.reason, attempt.cause, attempt.last_step) == (reason, cause, 5)


def test_an_attempt_of_this_start_of_the_job_is_known(run: Run, slurm: Path) -> None:
    says(slurm, "sacct", "7|RUNNING")
    ledger.end(run, 1, "killed", step=5)
    backfill.complete(run, Node(0, 2, "n1", "7", 0, ("n1", "n2"), in_slurm=True))
    assert len(run.attempts.read_text().splitlines()) == 3
