"""What the page is told, how often files and Slurm are looked at for it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from run_folder import Slurm, finish, log, make, note, slurm, submit

from dnw.runs.folder import Run
from launch.commands.serve import snapshot
from launch.commands.serve.snapshot import Snapshots, identified
from launch.query import select

NOW = time.time()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer tells of the whole look, however slow the machine is."""
    monkeypatch.setattr(snapshot, "PATIENCE_S", 60.0)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def begun(folder: Path, name: str = "default-0123456789") -> Run:
    run = make(folder / "runs", name)
    submit(run, "7", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "start", NOW - 40, step=0, world=4, nodes=1, device="cuda:0")
    log(run, 1, attempt=1, time=NOW - 30)
    log(run, 2, attempt=1, time=NOW - 29, loss=float("nan"))
    return run


def told(snapshots: Snapshots) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(snapshots.runs().body)
    return found


def test_many_requests_are_one_look(tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "FRESH_S", 600.0)
    run = begun(tmp_path)
    cluster.says("squeue", f"7|RUNNING|None|n1|low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n")
    cluster.says("sacct", f"7|{NOW - 55:.0f}|Unknown|0\n")
    snapshots, answers = Snapshots(lambda: select.below(tmp_path / "runs")), list[bytes]()
    asking = [threading.Thread(target=lambda: answers.append(snapshots.runs().body)) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(answers) == 8
    assert [call.split()[0] for call in cluster.calls] == ["squeue", "sacct"]
    found = told(snapshots)
    (row,) = found["rows"]
    assert (row["id"], row["run"], row["state"], row["loss"]) == (identified(run), run.name, "running", "NaN")
    assert (row["cost"]["gpu_hours"] > 0, row["energy_kwh"]) == (True, None)
    assert not found["is_asking"]


def test_files_are_shown_while_slurm_takes_its_time(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path)
    cluster.says("sacct")
    (tmp_path / "go").mkdir()
    slow = tmp_path / "lab" / "bin" / "squeue"
    slow.write_text(f"#!/bin/sh\nwhile [ -d {tmp_path}/go ]; do /bin/sleep 0.05; done\n")
    slow.chmod(0o755)
    monkeypatch.setattr(snapshot, "PATIENCE_S", 0.1)
    snapshots = Snapshots(lambda: [run])
    found = told(snapshots)
    assert found["is_asking"]
    assert found["rows"][0]["state"] == "running"
    assert found["notes"][0].startswith("squeue: not asked yet")
    (tmp_path / "go").rmdir()
    deadline = time.monotonic() + 120
    while (found := told(snapshots))["is_asking"]:
        assert time.monotonic() < deadline
    assert found["rows"][0]["state"] == "failed"


def test_a_tag_stays_while_nothing_happens(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "FRESH_S", 0.0)
    run = begun(tmp_path)
    finish(run)
    snapshots = Snapshots(lambda: select.below(tmp_path / "runs"))
    first, second = snapshots.runs(), snapshots.runs()
    assert first.etag == second.etag
    finish(make(tmp_path / "runs", "other-0123456789"))
    assert snapshots.runs().etag != first.etag
    shutil.rmtree(tmp_path / "runs")
    found = told(snapshots)
    assert found["rows"] == []
    assert "no such folder" in found["notes"][0]


def test_curves_and_attempts_of_one(tmp_path: Path, cluster: Slurm) -> None:
    run = begun(tmp_path)
    snapshots = Snapshots(lambda: [run])
    assert snapshots.details(identified(run)) is None  # nobody has looked yet
    told(snapshots)
    found = json.loads(snapshots.details(identified(run)).body)
    assert found["curves"]["train/loss"] == [[1, 1.5], [2, None]]
    assert (found["attempts"][0]["device"], found["notes"]) == ("cuda:0", [])
    assert snapshots.details("../../etc/passwd") is None
    with run.attempts.open("a") as ledger:
        ledger.write('{"attempt": 2, "event": "claim", "time": "noon"}\n')
    odd = json.loads(snapshots.details(identified(run)).body)
    assert "a record is damaged" in odd["notes"][0]
    shutil.rmtree(run.folder)
    gone = json.loads(snapshots.details(identified(run)).body)
    assert gone["curves"] == {}


def test_a_look_that_fails_is_told_and_made_again(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda told: None)
    run, fails = begun(tmp_path), [True]

    def selected() -> list[Run]:
        if fails.pop() if fails else False:
            raise RuntimeError("never seen")
        return [run]

    snapshots = Snapshots(selected)
    assert told(snapshots)["notes"] == [snapshot.FAILED]
    monkeypatch.setattr(snapshot, "FRESH_S", 0.0)
    assert told(snapshots)["rows"][0]["run"] == run.name
