"""wandb in its offline mode; and the service, by a stand-in for its library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from event_files import draw
from local_servers import web
from PIL import Image
from run_folder import finish, log, make, note
from trackers.wandb_files import history, records, the_file
from trackers.wandb_service import serving
from wandb.sdk.mailbox.mailbox_handle import HandleAbandonedError
from worker import ROOT

from dnw.runs.folder import Run
from dnw.tracking import sweep
from dnw.tracking.facts import read_facts
from dnw.tracking.follow import Sender
from dnw.tracking.rows import RowReader
from dnw.tracking.tracker import TrackerError
from dnw.tracking.wandb_tracker import WandbTracker

KEY = "0123456789" * 4


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of two steps, at work, one of a sweep."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    run = make(tmp_path)
    sweep.write(run, "example-sweep-01234567")
    note(run, 1, "claim", time.time() - 9, job="7", hosts=["n1"])
    note(run, 1, "start", time.time() - 8, step=0)
    for step in (1, 2):
        log(run, step, attempt=1, time=time.time())
    return run


def sent(run: Run) -> int:
    sender = Sender(run, "wandb")
    count = sender.send()
    sender.end()
    return count


def test_offline_files_hold_the_run_once(run: Run) -> None:
    assert sent(run) == 2
    log(run, 2, kind="val", attempt=1, time=time.time())
    note(run, 1, "end", time.time(), reason="done", step=2)
    Image.new("L", (2, 2)).save(run.wiring)
    draw(run, 2, "wiring/graph")
    (run.checkpoints / "step-00000002.pt").write_bytes(b"-")
    finish(run, steps=2)
    assert sent(run) == 4  # all of it anew, in one folder
    path = the_file(run.tracking)
    found = history(path)
    assert [(row["kind"], row["step"]) for row in found] == [
        ("train", 1),
        ("train", 2),
        ("val", 2),
        ("result", 2),
        ("wiring/graph", 2),
    ]
    assert found[0]["train/loss"] == 1.5
    assert found[-2]["result/top1"] == 61.5
    (first,) = (record.run for record in records(path) if record.HasField("run"))
    assert (first.run_id, first.run_group) == (read_facts(run).id, "example-sweep-01234567")
    assert {item.key: json.loads(item.value_json) for item in first.config.update}["optim"]["lr"] > 0
    artifacts = [record.artifact for record in records(path) if record.HasField("artifact")]
    (made,) = (artifact for artifact in artifacts if artifact.type == "model")
    assert made.name == f"checkpoints-{read_facts(run).id}"
    summary = {item.key for one in records(path) if one.HasField("summary") for item in one.summary.update}
    assert {"causes", "state"} <= {key.split(".")[0] for key in summary}
    files = [path for path in run.tracking.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_synced_after_each_attempt_the_run_is_there_once(run: Run) -> None:
    """By its own command, which replaces what it has of a run by what stands in the folder."""
    for attempt in (1, 2):
        sender = Sender(run, "wandb")
        sender.send()
        folder = sender.tracker.address
        sender.end()
        with serving() as (address, rows):
            environment = {**os.environ, "WANDB_BASE_URL": address, "WANDB_MODE": "online"}
            line = [str(Path(sys.executable).with_name("wandb")), "sync", folder]
            done = subprocess.run(
                line, env=environment, cwd=run.folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "Finished syncing" in done.stderr
            assert [(row["kind"], row["step"]) for row in rows] == [
                ("train", n) for n in range(1, 2 + attempt)
            ]
        log(run, 3, attempt=2, time=time.time())


def test_the_service_is_asked_which_rows_it_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    there = [{"kind": "train", "step": 1}]
    service = Service(there)
    monkeypatch.setattr(wandb, "init", service.init)
    monkeypatch.setattr(wandb, "Api", lambda: service)
    facts, at = read_facts(run), WandbTracker()
    at.begin(facts)
    assert at.send(facts, RowReader(run).new()) == 1
    assert at.send(facts, RowReader(run).new()) == 0
    at.end(facts)
    assert [row["step"] for row in there] == [1, 2]
    assert (service.asked["id"], service.asked["resume"]) == (facts.id, "allow")
    assert not list(run.tracking.glob("wandb/*"))


def test_what_the_library_raises_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process that sends may be gone, of which it tells by exceptions without a class in common."""
    monkeypatch.delenv("WANDB_MODE")
    service = Service([])
    monkeypatch.setattr(wandb, "init", service.init)
    monkeypatch.setattr(wandb, "Api", lambda: service)
    note(run, 1, "end", time.time(), reason="done", step=2)
    finish(run, steps=2)
    facts, at = read_facts(run), WandbTracker()
    at.begin(facts)
    service.raises["log_artifact"] = HandleAbandonedError("gone")
    at.send(facts, RowReader(run).new())
    assert at.unsent.startswith("wandb: HandleAbandonedError: gone (so these files are not sent")
    service.raises["log"] = HandleAbandonedError("gone")
    log(run, 3, attempt=1, time=time.time())
    with pytest.raises(TrackerError, match="wandb: HandleAbandonedError: gone"):
        at.send(facts, RowReader(run).new())
    at.end(facts)


def test_a_key_that_is_refused_is_told_with_what_helps(run: Run, tmp_path: Path) -> None:
    """By the real library and a server that refuses; of how its calls fare the library tells nobody."""
    with web() as service:
        service.answer = (401, '{"errors": [{"message": "user is not logged in"}]}')
        done = subprocess.run(
            [sys.executable, str(ROOT / "launch" / "runs.py"), "track", str(run.folder), "--to", "wandb"],
            env={
                **os.environ,
                "WANDB_MODE": "online",
                "WANDB_BASE_URL": service.address,
                "HOME": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert "wandb: CommError: " in done.stderr
    assert "; this key doesn't hold there (any more): wandb login --relogin" in done.stderr.splitlines()[-1]
    assert {path for path, _, _ in service.requests} == {"/graphql"}


def test_disabled_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(TrackerError, match="WANDB_MODE=disabled, so nothing is sent; unset it"):
        WandbTracker()


class Service:
    """As much of wandb as is used of a service that has the run."""

    def __init__(self, there: list[dict[str, Any]]) -> None:
        self._there = there
        self.asked: dict[str, Any] = {}
        self.raises: dict[str, Exception] = {}
        self.summary: dict[str, Any] = {}

    def init(self, **asked: Any) -> Any:
        self.asked = asked
        ignored = {name: lambda *_, **__: None for name in ("define_metric", "finish")}
        return SimpleNamespace(
            path="me/example/id",
            resumed=True,
            log=lambda row: self._take("log", row),
            log_artifact=lambda _: self._take("log_artifact"),
            summary=self.summary,
            **ignored,
        )

    def _take(self, call: str, *rows: dict[str, Any]) -> None:
        if call in self.raises:
            raise self.raises[call]
        self._there += rows

    def run(self, path: str) -> Service:
        assert path == "me/example/id"
        return self

    def scan_history(self, keys: list[str]) -> list[dict[str, Any]]:
        return [{key: row[key] for key in keys} for row in self._there]
