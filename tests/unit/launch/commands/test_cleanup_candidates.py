"""What may go of which run; that it goes, and what stays, is in test_clean.py."""

import os
import time
from pathlib import Path

import pytest
from run_folder import finish, make, slurm

from dnw.runs.folder import Run, step_path
from launch.commands.cleanup_candidates import SETTLED_S, cleanup_candidates


@pytest.fixture(autouse=True)
def without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(tmp_path, monkeypatch)


def filled(runs_dir: Path) -> Run:
    """A finished run with two checkpoints and a damaged one."""
    run = make(runs_dir)
    for path in (step_path(run.checkpoints, 4), step_path(run.checkpoints, 10)):
        path.write_bytes(b"x" * 1000)
    (run.checkpoints / "step-00000002.pt.damaged").write_bytes(b"x" * 70)
    finish(run)
    return run


def test_each_with_its_size_and_reason(tmp_path: Path) -> None:
    run = filled(tmp_path / "runs")
    found, notes = cleanup_candidates([run], None)
    assert notes == []
    assert [(one.path.name, one.bytes, one.why, one.run) for one in found] == [
        ("step-00000004.pt", 1000, "checkpoint of a finished run, not its last", run),
        ("step-00000002.pt.damaged", 70, "damaged checkpoint", run),
    ]


def test_only_a_whole_folder_of_runs_is_looked_through(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    run = filled(runs_dir)
    broken_off = runs_dir / "example" / ".preparing-1"
    broken_off.mkdir()
    (broken_off / "file").write_bytes(b"x" * 9)
    assert len(cleanup_candidates([run], runs_dir)[0]) == 2  # it may be in the making
    before = time.time() - SETTLED_S - 9
    os.utime(broken_off, (before, before))
    *_, last = cleanup_candidates([run], runs_dir)[0]
    assert (last.path, last.bytes, last.run) == (broken_off, 9, None)
    assert len(cleanup_candidates([run], None)[0]) == 2
