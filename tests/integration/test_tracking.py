"""A run that is killed, and its trackers: a real MLflow server that is killed, too, and wandb offline."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import dry_run, typed, wait_for
from run_folder import log, make
from slurm import packages
from trackers import front_server
from trackers.mlflow_server import MlflowServer
from trackers.wandb_files import history, the_file
from worker import ROOT

from bench import mlflow_page
from bench import tracking as costs
from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from dnw.tracking.facts import read_facts
from launch import runs

KEY = "feedbeef01" * 4
STEPS = 60
LONGEST_S = 300  # on a loaded machine
WORDS = ["+exp=demo_dnw", "nproc=1", "batch=8", "micro_batch=8", "data.workers=0", f"steps={STEPS}"]
WORDS += ["log.every_steps=1", "checkpoint.every_steps=10", "track=[tensorboard,mlflow,wandb]"]


def shown() -> list[str]:
    """The commands of docs/tracking.md."""
    return re.findall(r"^    (python .*)$", (ROOT / "docs" / "tracking.md").read_text(), re.MULTILINE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLAlchemy's, of MLflow
@pytest.mark.parametrize("command", shown())
def test_command_of_the_document(
    command: str, few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)  # where such a store puts files
    two = [
        make(tmp_path / "runs", name, exp="demo_dnw") for name in ("default-0123456789", "seed=1-0123456789")
    ]
    for run in two:
        log(run, 1, time=1.0, attempt=1)
    if " track " in command:
        words = shlex.split(command)[2:]
        assert runs.main([*words, f"--runs-dir={tmp_path / 'runs'}"]) == 0
        sent = [(run.tracking / "id.json").exists() for run in two]
        assert sent == [True, " demo_dnw/ " in command]
    else:
        assert "- mlflow" in dry_run(command, f"data.dir={few_images}", f"runs_dir={tmp_path / 'runs'}")


def test_a_run_without_trackers_imports_none() -> None:
    assert costs.import_s("") > 0
    with pytest.raises(subprocess.CalledProcessError):
        costs.import_s("import dnw.tracking.wandb_tracker")  # so it would be seen


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


@contextlib.contextmanager
def begun(images: Path, below: Path, fault: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is trained, and killed at the end of the block."""
    words = [*WORDS, f"data.dir={images}", f"runs_dir={below}"]
    with (below.parent / "printed").open("ab") as printed:
        process = subprocess.Popen(
            [sys.executable, "launch/local.py", *words],
            cwd=ROOT,
            env={**os.environ, "DNW_FAULT": fault},
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
    below, gone, back = tmp_path / "runs", tmp_path / "server-is-gone", tmp_path / "server-is-back"
    # neither attempt can be over before trackers have sent a part of it, however slow the machine is
    with begun(few_images, below, f"0:step 12:SLOW:1:{gone};0:step 40:HANG:1"):
        wait_for(lambda: list(below.glob("demo_dnw/*/attempts.jsonl")), LONGEST_S)
        (folder,) = below.glob("demo_dnw/[!.]*")
        run = Run(folder)
        wait_for(lambda: len(sent(server, run)) >= 2, LONGEST_S)  # while it trains
        server.kill()
        seen = len(jsonl.read(run.metrics))
        gone.touch()
        wait_for(lambda: len(jsonl.read(run.metrics)) > seen + 2, LONGEST_S)
        assert not run.result.exists()
    server.start()
    with begun(few_images, below, f"0:step 50:SLOW:2:{back}") as again:
        wait_for(lambda: len(sent(server, run)) > seen, LONGEST_S)
        back.touch()
        assert again.wait(LONGEST_S) == 0, (tmp_path / "printed").read_text()

    name = folder.name
    printed = typed(f"python launch/runs.py track {name} --runs-dir={below}").stdout
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
    assert files == {"attempts.jsonl", "config.yaml", "images", "pictures", "result.json"}
    images = [Path(one.path).name for one in server.client().list_artifacts(found.info.run_id, "images")]
    shown = Counter(int(name.split("+")[2]) for name in images if name.endswith(".png"))
    assert shown == dict.fromkeys(logged(run, "wiring", "macs"), 1)

    rows = history(the_file(run.tracking))
    assert Counter((row["kind"], row["step"]) for row in rows).most_common(1)[0][1] == 1
    assert {row["step"]: row["train/loss"] for row in rows if row["kind"] == "train"} == logged(
        run, "train", "loss"
    )
    if not packages.missing(packages.BROWSER):
        picture = tmp_path / "mlflow.png"
        page = mlflow_page.draw(server, picture, "model-metrics")
        assert run.name in page
        assert "share" in page  # of goodput, the first curves
        assert 10_000 < picture.stat().st_size < 200_000

    secret = [path for path in folder.rglob("*") if path.is_file() and _holds(path)]
    assert not secret


PASSWORD = "correct-horse-9"
ME = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_that_asks_who_one_is_behind_a_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a path in front and a certificate of its own; what it refuses is told with what helps."""
    pytest.importorskip("flask_wtf")
    monkeypatch.setenv("HOME", str(tmp_path))
    (folder := tmp_path / "server").mkdir()
    run = make(tmp_path / "runs", "default-0123456789", exp="demo_dnw")
    log(run, 1, time=1.0, attempt=1)

    def track(uri: str, **variables: str) -> tuple[int, str]:
        with monkeypatch.context() as within:
            for name, value in {"MLFLOW_TRACKING_URI": uri, **variables}.items():
                within.setenv(name, value)
            code = runs.main(["track", str(run.folder), "--to", "mlflow"])
        said = capfd.readouterr()
        return code, said.out + said.err

    server = MlflowServer(folder, PASSWORD)
    server.start()
    try:
        with front_server.before(server.url, tmp_path) as (front, certificate):
            refused = {
                "~/.mlflow/credentials": track(server.url),
                "these don't hold": track(server.url, **{**ME, "MLFLOW_TRACKING_PASSWORD": "another-horse"}),
                "MLFLOW_TRACKING_TOKEN, or": track(server.url, MLFLOW_TRACKING_TOKEN="expired-horse"),
                "MLFLOW_TRACKING_SERVER_CERT_PATH=FILE.pem": track(f"{front}{front_server.PATH}", **ME),
                "a path behind the port": track(front, **ME, MLFLOW_TRACKING_INSECURE_TLS="true"),
            }
            for helps, (code, said) in refused.items():
                assert (code, said.count("\n"), helps in said) == (1, 1, True), said
            there = f"{front}{front_server.PATH}"
            code, said = track(there, **ME, MLFLOW_TRACKING_INSECURE_TLS="true")
            assert (code, said.count("\n")) == (0, 1), said
            assert f"rows sent to mlflow: 1; {there}/#/experiments/" in said
            code, said = track(there, **ME, MLFLOW_TRACKING_SERVER_CERT_PATH=str(certificate))
            assert (code, "rows sent to mlflow: 0; " in said) == (0, True), said
    finally:
        server.kill()
    assert not [path for path in run.folder.rglob("*") if path.is_file() and b"-horse" in path.read_bytes()]


def sent(server: MlflowServer, run: Run) -> list[Any]:
    """What the server has of the loss so far."""
    if not (run.tracking / "id.json").exists() or server.client().get_experiment_by_name("demo_dnw") is None:
        return []
    found = server.client().search_runs(["1"], f"tags.`dnw.run` = '{read_facts(run).id}'")
    return server.client().get_metric_history(found[0].info.run_id, "train/loss") if found else []


def _holds(path: Path) -> bool:
    content = path.read_bytes()
    return KEY.encode() in content or b"correcthorse" in content
