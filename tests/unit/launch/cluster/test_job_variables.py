"""Variables that sbatch is told to keep from a job that needs them."""

import os
from pathlib import Path
from typing import Any

import pytest
from example import train
from login_node import Captured, Typed

from launch.cluster.job_variables import kept_back
from launch.config import Cluster, Launch, Notify

SET = {"MLFLOW_TRACKING_URI": "http://h:5000", "WANDB_API_KEY": "k", "NTFY_TOPIC": "t", "PATH": "/bin"}
TRACKED = ["tensorboard", "mlflow"]


def launch(export: str | None = None, **settings: Any) -> Launch:
    cluster = Cluster(
        name="slurm", grace_s=60, additional_parameters=None if export is None else {"export": export}
    )
    fixed = {"nodes": 1, "nproc": 1, "runs_dir": Path("runs"), "fresh": False, "dry_run": False, "port": None}
    return Launch(**{**fixed, **settings}, cluster=cluster)


@pytest.mark.parametrize(
    ("export", "by_default", "is_told"),
    [
        (None, None, False),
        (None, "ALL", False),
        (None, "ALL,OTHER=1", False),
        (None, "NONE", True),
        ("ALL", "NONE", False),
        ("none", None, True),
        ("NIL", "ALL", True),
        ("MLFLOW_TRACKING_URI", "NONE", False),
        ("OTHER,MLFLOW_TRACKING_URI=http://h", None, False),
        ("OTHER", None, True),
    ],
)
def test_what_sbatch_hands_on(export: str | None, by_default: str | None, is_told: bool) -> None:
    environment = SET if by_default is None else {**SET, "SBATCH_EXPORT": by_default}
    assert bool(kept_back(train(track=TRACKED), launch(export), environment)) == is_told


def test_what_is_said_of_those_that_the_run_reads() -> None:
    none = {**SET, "SBATCH_EXPORT": "NONE"}
    assert kept_back(train(track=TRACKED), launch(), none) == (
        "SBATCH_EXPORT: keeps MLFLOW_TRACKING_URI from the job, unless a login sets it on the nodes; "
        "cluster.additional_parameters='{export: \"MLFLOW_TRACKING_URI\"}' hands it on"
    )
    told = kept_back(train(track=["wandb"]), launch("NONE", notify=Notify(ntfy=True)), SET)
    assert told is not None
    assert told.startswith("cluster.additional_parameters: export: keeps NTFY_TOPIC, WANDB_API_KEY from the")
    assert "'{export: \"NTFY_TOPIC,WANDB_API_KEY\"}'" in told
    assert kept_back(train(), launch(), none) is None
    variables = {"MLFLOW_TRACKING_URI": "http://h:5000"}
    assert kept_back(train(track=TRACKED), launch(environment=variables), none) is None


def test_it_is_told_as_a_run_is_submitted(
    typed: Typed, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name for name in os.environ if name.startswith("MLFLOW_")
    ]:  # a tracker of another test's set it
        monkeypatch.delenv(name)
    for name, value in {**SET, "SBATCH_EXPORT": "NONE"}.items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    assert typed("track=[tensorboard,mlflow]") == 0
    assert "note    SBATCH_EXPORT: keeps MLFLOW_TRACKING_URI from the job" in capfd.readouterr().out
