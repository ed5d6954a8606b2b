"""MLflow's own store, without a server; with one: tests/integration/test_tracking.py."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from event_files import draw
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from run_folder import finish, log, make, note

from dnw.runs.folder import Run
from dnw.tracking import sweep
from dnw.tracking.facts import read_facts
from dnw.tracking.follow import Sender
from dnw.tracking.mlflow_tracker import METRICS, MlflowTracker
from dnw.tracking.tracker import TrackerError
from launch import runs

pytestmark = pytest.mark.xdist_group("mlflow tracker")  # one worker makes what they share

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLAlchemy of MLflow
LINES = METRICS // 4 + 5  # of four values each


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def client(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)  # where such a store puts files
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    return MlflowClient(database)


def working(folder: Path, name: str) -> Run:
    run = make(folder / "runs", name, exp=name)
    note(run, 1, "claim", time.time() - 9, job="7", hosts=["n1"])
    note(run, 1, "start", time.time() - 8, step=0)
    return run


def found(client: MlflowClient, tag: str, value: str, exp: str) -> list[Any]:
    experiment = client.get_experiment_by_name(exp)
    return client.search_runs([experiment.experiment_id], f"tags.`{tag}` = '{value}'")


def test_a_response_that_is_lost(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server had taken isn't sent again, and the rest is."""
    run = working(tmp_path, "lost")
    for step in range(LINES):
        log(run, step, time=1e9 + step, attempt=1)
    sender, send = Sender(run, "mlflow"), MlflowClient.log_batch

    def lose(at: MlflowClient, *words: Any, **given: Any) -> None:
        send(at, *words, **given)
        raise MlflowException("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", lose)
        with pytest.raises(TrackerError, match="mlflow: MlflowException: cut off"):
            sender.send()
    sender.drop()
    again = Sender(run, "mlflow")
    assert again.send() == 5 + 250 - METRICS // 4
    again.end()
    (one,) = found(client, "dnw.run", read_facts(run).id, "lost")
    steps = Counter(point.step for point in client.get_metric_history(one.info.run_id, "train/loss"))
    assert steps == Counter(range(LINES))


def test_runs_of_a_sweep_stand_below_one(client: MlflowClient, tmp_path: Path) -> None:
    swept = [working(tmp_path / name, "swept") for name in "ab"]
    for run in swept:
        sweep.write(run, "swept-sweep-01234567")
        Sender(run, "mlflow").end()
    (parent,) = found(client, "dnw.sweep", "swept-sweep-01234567", "swept")
    children = found(client, "mlflow.parentRunId", parent.info.run_id, "swept")
    assert {child.data.tags["dnw.run"] for child in children} == {read_facts(run).id for run in swept}


def test_a_state_that_changes(client: MlflowClient, tmp_path: Path) -> None:
    run = working(tmp_path, "state")
    sender = Sender(run, "mlflow")

    def status() -> str:
        sender.send()
        (one,) = found(client, "dnw.run", read_facts(run).id, "state")
        return str(one.info.status)

    assert status() == "RUNNING"
    note(run, 1, "end", time.time(), reason="stopped", cause="preempted", step=3)
    assert status() == "SCHEDULED"
    finish(run)
    assert status() == "FINISHED"
    (one,) = found(client, "dnw.run", read_facts(run).id, "state")
    assert one.data.tags["dnw.causes"] == "1 preempted"
    assert one.data.metrics["result/top1"] == 61.5
    assert "preempted" in one.data.tags["mlflow.note.content"]
    sender.end()


def test_a_bucket_without_credentials_costs_the_files_alone(
    client: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With `--default-artifact-root s3://...` the client sends files itself, by botocore."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    client.create_experiment("bucket", artifact_location="s3://bucket/of/mine")
    run = working(tmp_path, "bucket")
    log(run, 1, time=1e9, attempt=1)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "boto3", None)
        assert runs.main(["track", str(run.folder), "--to", "mlflow"]) == 1
    said = capsys.readouterr()
    assert "rows sent to mlflow: 1; " in said.out
    assert "mlflow: ModuleNotFoundError: " in said.err
    assert runs.main(["track", str(run.folder), "--to", "mlflow"]) == 1
    said = capsys.readouterr()
    assert "rows sent to mlflow: 0; " in said.out
    assert "mlflow: NoCredentialsError: Unable to locate credentials" in said.err
    assert "these files are not sent, all else is: attempts.jsonl, config.yaml)" in said.err
    assert said.err.count("\n") == 1


def test_an_experiment_that_was_deleted_is_told(client: MlflowClient, tmp_path: Path) -> None:
    run = working(tmp_path, "deleted")
    client.delete_experiment(client.create_experiment("deleted"))
    with pytest.raises(TrackerError, match="experiment deleted is deleted there; restore it, or set"):
        Sender(run, "mlflow")


def test_pictures_are_there_once_and_those_of_an_unreachable_store_later(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = working(tmp_path, "pictures")
    draw(run, 4, "wiring/graph", "wiring/ä[0]")
    sender = Sender(run, "mlflow")
    (one,) = found(client, "dnw.run", read_facts(run).id, "pictures")

    def shown() -> list[str]:
        there = [Path(file.path).name for file in client.list_artifacts(one.info.run_id, "images")]
        return sorted("+".join(name.split("+")[:3]) for name in there if name.endswith(".png"))

    both = ["wiring~__0_+step+4", "wiring~graph+step+4"]
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_image", refuse)
        sender.send()
        assert (
            sender.tracker.unsent
            == "mlflow: MlflowException: away (so these files are not sent, all else is: pictures)"
        )
    assert shown() == []
    sender.drop()
    for _ in range(2):
        sender = Sender(run, "mlflow")
        sender.send()
        sender.send()
        assert shown() == both
        sender.end()
    draw(run, 8, "wiring/graph")
    sender = Sender(run, "mlflow")
    sender.send()
    assert shown() == [*both, "wiring~graph+step+8"]
    sender.end()


def refuse(*_: Any, **__: Any) -> None:
    raise MlflowException("away")


def test_a_run_that_was_deleted_stays_deleted_until_it_is_restored(
    client: MlflowClient, tmp_path: Path
) -> None:
    run = working(tmp_path, "gone")
    sender = Sender(run, "mlflow")
    (one,) = found(client, "dnw.run", read_facts(run).id, "gone")
    client.delete_run(one.info.run_id)
    with pytest.raises(TrackerError, match="must be in the 'active' state"):
        sender.send()
    sender.drop()
    remedy = f"was deleted there; mlflow runs restore --run-id {one.info.run_id} has it go on, rm "
    with pytest.raises(TrackerError, match=remedy):
        Sender(run, "mlflow")
    client.restore_run(one.info.run_id)
    Sender(run, "mlflow").end()
    client.delete_run(one.info.run_id)
    (run.tracking / "id.json").unlink()
    Sender(run, "mlflow").end()
    assert len(found(client, "dnw.run", read_facts(run).id, "gone")) == 1


def test_settings_of_any_name_length_and_number(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are there stay: MLflow has no other value for them, as `code=new` might bring."""
    run = working(tmp_path, "settings")
    given: dict[str, Any] = {f"a{number}": number for number in range(250)}
    given |= {"model.with.größe[0]": "x" * 7000, "optim.lr": 0.1, "nothing": None}
    facts = replace(read_facts(run), settings=given)
    MlflowTracker().begin(facts)
    MlflowTracker().begin(replace(facts, settings=given | {"optim.lr": 0.2, "new": 1}))
    (one,) = found(client, "dnw.run", facts.id, "settings")
    assert one.data.params["optim.lr"] == "0.1"
    assert one.data.params["new"] == "1"
    assert one.data.params["model.with.gr__e_0_"] == "x" * 500
    assert len(one.data.params) == 254


def test_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackerError, match="MLFLOW_TRACKING_URI is not set"):
        MlflowTracker()
