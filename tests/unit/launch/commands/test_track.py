"""launch/runs.py track."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from run_folder import log, make
from trackers.wandb_files import history, the_file

from dnw.runs.lock import Lock
from launch import runs


def test_offline_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = make(tmp_path, track=["wandb"])
    log(run, 1, time=1.0, attempt=1)
    for _ in range(2):
        assert runs.main(["track", str(run.folder)]) == 0
    assert "rows sent to wandb: 1; " in capsys.readouterr().out
    assert [row["step"] for row in history(the_file(run.tracking))] == [1]
    assert not writers()  # else what was read might not have been all


def writers() -> list[str]:
    """The processes of wandb's own that write its files."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if (
                "wandb" in path.read_text()
                and f"PPid:\t{os.getpid()}\n" in (path.parent / "status").read_text()
            ):
                found.append((path.parent / "cmdline").read_text())
    return found


def test_an_experiment_stands_for_its_runs_and_one_that_is_being_sent_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    names = ("default-0123456789", "seed=1-0123456789", "seed=2-0123456789")
    working, done, damaged = (make(tmp_path, name, track=["wandb"]) for name in names)
    damaged.config.write_text("{")
    with Lock.take(working.lock):
        assert runs.main(["track", "example/", "--to", "wandb", f"--runs-dir={tmp_path}"]) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.out.splitlines()] == [done.name]
    assert f"{working.name}: wandb: left out: the run is at work, and its own process sends it" in said.err
    assert f"{damaged.name}: " in said.err
    assert not working.tracking.exists()


def test_what_cannot_be_sent_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path)
    assert runs.main(["track", str(run.folder)]) == 2
    assert "names no tracker to send it to: --to mlflow, or --to wandb" in capsys.readouterr().err
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert runs.main(["track", str(run.folder), "--to", "mlflow"]) == 1
    assert "mlflow: MLFLOW_TRACKING_URI is not set: export it, as http://HOST:5000" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    assert runs.main(["track", str(run.folder), "--to", "mlflow"]) == 1
    said = capsys.readouterr().err
    assert "mlflow: " in said
    assert "secret" not in said
    assert said.count("\n") == 1
