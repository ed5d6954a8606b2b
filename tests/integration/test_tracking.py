"""A run that is killed, and its trackers: a real MLflow server that is killed, too, and wandb offline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import typed, wait_for
from trackers.mlflow_server import MlflowServer
from trackers.wandb_files import history, the_file
from worker import ROOT

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from dnw.tracking.facts import read_facts

KEY = "feedbeef01" * 4
STEPS = 60
WORDS = ["+exp=demo_dnw", "nproc=1", "batch=8", "micro_batch=8", "data.workers=0", f"steps={STEPS}"]
WORDS += ["log.every_steps=1", "checkpoint.every_steps=10", "track=[tensorboard,mlflow,wandb]"]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    made = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.kill()


def metric(server: MlflowServer, run_id: str, key: str) -> dict[int, float]:
    """The steps of a metric, each of which has to be there once."""
    points = server.client().get_metric_history(run_id, key)
    assert Counter(point.step for point in points).most_common(1)[0][1] == 1, key
    return {point.step: point.value for point in points}


def logged(run: Run, kind: str, name: str) -> dict[int, float]:
    return {record["step"]: record[name] for record in jsonl.read(run.metrics) if record["kind"] == kind}


def begin(images: Path, runs: Path, fault: str = "") -> subprocess.Popen[bytes]:
    words = [*WORDS, f"data.dir={images}", f"runs_dir={runs}"]
    with (runs.parent / "printed").open("ab") as printed:
        return subprocess.Popen(
            [sys.executable, "launch/local.py", *words],
            cwd=ROOT,
            env={**os.environ, "DNW_FAULT": fault},
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )


def test_killed_run_and_killed_server(
    few_images: Path, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "MLFLOW_TRACKING_URI": server.url.replace("http://", "http://me:correcthorse@"),
        "MLFLOW_TRACKING_TOKEN": "",
        "WANDB_API_KEY": KEY,
        "WANDB_MODE": "offline",
        "DNW_TRACK_EVERY_S": "0.2",
    }.items():
        monkeypatch.setenv(name, value)
    runs = tmp_path / "runs"
    process = begin(few_images, runs)
    wait_for(lambda: list(runs.glob("demo_dnw/*/attempts.jsonl")))
    (folder,) = runs.glob("demo_dnw/[!.]*")
    run = Run(folder)
    wait_for(lambda: len(sent(server, run)) >= 2)  # while it trains
    server.kill()
    seen = len(jsonl.read(run.metrics))
    wait_for(lambda: len(jsonl.read(run.metrics)) > seen + 2 or run.result.exists())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    server.start()
    again = begin(few_images, runs)
    assert again.wait(200) == 0, (tmp_path / "printed").read_text()

    name = folder.name
    printed = typed(f"python launch/runs.py track {name} --runs-dir={runs}").stdout
    assert "rows sent to mlflow: 0; " in printed
    (found,) = server.client().search_runs(["1"], f"tags.`dnw.run` = '{read_facts(run).id}'")
    assert found.info.status == "FINISHED"
    assert found.data.params["optim.lr"] == str(read_facts(run).settings["optim.lr"])
    assert int(found.data.tags["dnw.attempts"]) == len(ledger.read(run)) >= 2
    assert found.data.tags["dnw.checkpoint.last"].endswith(f"step-{STEPS:08d}.pt")
    assert metric(server, found.info.run_id, "train/loss") == logged(run, "train", "loss")
    assert metric(server, found.info.run_id, "val/top1") == logged(run, "val", "top1")
    assert list(metric(server, found.info.run_id, "result/top1")) == [STEPS]
    files = {path.path for path in server.client().list_artifacts(found.info.run_id)}
    assert files == {"attempts.jsonl", "config.yaml", "pictures", "result.json"}

    rows = history(the_file(run.tracking))
    assert Counter((row["kind"], row["step"]) for row in rows).most_common(1)[0][1] == 1
    assert {row["step"]: row["train/loss"] for row in rows if row["kind"] == "train"} == logged(
        run, "train", "loss"
    )
    secret = [path for path in folder.rglob("*") if path.is_file() and _holds(path)]
    assert not secret


def sent(server: MlflowServer, run: Run) -> list[Any]:
    """What the server has of the loss so far."""
    if not (run.tracking / "id.json").exists() or server.client().get_experiment("1") is None:
        return []
    found = server.client().search_runs(["1"], f"tags.`dnw.run` = '{read_facts(run).id}'")
    return server.client().get_metric_history(found[0].info.run_id, "train/loss") if found else []


def _holds(path: Path) -> bool:
    content = path.read_bytes()
    return KEY.encode() in content or b"correcthorse" in content
