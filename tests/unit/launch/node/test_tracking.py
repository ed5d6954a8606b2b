"""The processes that feed trackers, beside a run; and what is refused on the login node."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from documents import wait_for
from example import train
from run_folder import make
from worker import ROOT

from dnw.tracking import problems
from launch.errors import LaunchError
from launch.node import tracking
from launch.node.tracking import Followers, check

ENDS = "import sys; sys.stdin.read(); print('over'); sys.exit({code})"


def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
    """Have Python run this in place of dnw.tracking."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


@pytest.mark.parametrize(("code", "is_told"), [(0, False), (1, True)])
def test_they_end_with_the_job(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    is_told: bool,
) -> None:
    run = make(tmp_path / "runs", track=["tensorboard", "mlflow"])
    stand_in(monkeypatch, tmp_path, ENDS.format(code=code))
    with Followers(run, {}) as followers:
        followers.start()
    assert tracking.log(run, "mlflow").read_text() == "over\n"
    told = f"example/{run.folder.name}: mlflow: not all is sent: no answer, or a slow one, when the job ended"
    assert (told in capsys.readouterr().err) == is_told


def test_one_that_hangs_is_killed_and_one_that_cannot_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path / "runs", track=["wandb"])
    stand_in(monkeypatch, tmp_path, "import time; time.sleep(600)")
    monkeypatch.setattr(tracking, "STOPPED_S", 0.1)
    with Followers(run, {}) as followers:
        followers.start()
    assert "wandb: not all is sent" in capsys.readouterr().err
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Followers(run, {}) as followers:
        followers.start()
    assert "the run goes on without" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["sys.exit(1)", "time.sleep(600)"])
def test_why_not_all_is_sent_is_in_the_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """Whether the process has ended or hangs; what an earlier one has told doesn't count."""
    run = make(tmp_path / "runs", track=["mlflow"])
    run.tracking.mkdir()
    tracking.log(run, "mlflow").write_text(f"{problems.line('mlflow: of the attempt before')}\n")
    program = "import sys, time; from dnw.tracking import problems; {}; sys.stdin.read(); {}"
    told = (
        "print(problems.line('mlflow: error code 401; export it'), '[library] a word', sep='\\n', flush=True)"
    )
    stand_in(monkeypatch, tmp_path, program.format(told, ending))
    monkeypatch.setattr(tracking, "STOPPED_S", 3)
    with Followers(run, {}) as followers:
        followers.start()
        wait_for(lambda: "a word" in tracking.log(run, "mlflow").read_text())
    (line,) = capsys.readouterr().err.splitlines()
    name, log = f"example/{run.folder.name}", tracking.log(run, "mlflow")
    assert line.startswith(f"{name}: mlflow: not all is sent: error code 401; export it ({log}); later: ")
    assert line.endswith(f"runs.py track {run.folder} --to mlflow")


def test_the_users_search_path_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the trackers' libraries may lie; the code of the launcher comes first."""
    run = make(tmp_path / "runs", track=["mlflow"])
    stand_in(monkeypatch, tmp_path, "import os; print(os.environ['PYTHONPATH'])")
    monkeypatch.setenv("PYTHONPATH", f":{ROOT}:/of/the/job")
    for variables, found in (({}, "/of/the/job"), ({"PYTHONPATH": "/of/the/run"}, "/of/the/run")):
        with Followers(run, variables) as followers:
            followers.start()
        assert tracking.log(run, "mlflow").read_text().splitlines()[-1] == f"{ROOT}:{found}"


def test_tensorboard_alone_starts_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    with Followers(run, {}) as followers:
        followers.start()
    assert not run.tracking.exists()


def test_a_credential_in_words_for_the_cluster() -> None:
    """Its value is refused; its name, which has sbatch pass it on, isn't, nor is the file it is read from."""
    for said in (["export WANDB_API_KEY=feedbeef"], "ALL,MLFLOW_TRACKING_TOKEN='feed'", {"NTFY_TOPIC=x": 1}):
        with pytest.raises(LaunchError, match=r"cluster\.setup: [A-Z_]+ is a credential"):
            tracking.check_words({"setup": said})
    tracking.check_words({"setup": ["export WANDB_API_KEY=$(cat ~/key)"], "export": "ALL,WANDB_API_KEY"})


@pytest.mark.usefixtures("without_a_home")
def test_without_a_home_folder_no_key_is_known() -> None:
    assert "no key is known here" in check(train(track=["wandb"]), {})[0]


def test_checks_on_the_login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    assert check(train(), {}) == []
    with pytest.raises(LaunchError, match="export MLFLOW_TRACKING_URI=http://HOST:5000"):
        check(train(track=["mlflow"]), {})
    assert check(train(track=["mlflow"]), {"MLFLOW_TRACKING_URI": "http://h:1"}) == []
    for folder in ("./mlruns", "mlruns", "file:///data/mlruns", "/data/mlruns"):
        with pytest.raises(LaunchError, match="MLFLOW_TRACKING_URI is a folder, which MLflow takes no more"):
            check(train(track=["mlflow"]), {"MLFLOW_TRACKING_URI": folder})
    allowed = {"MLFLOW_TRACKING_URI": "./mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"}
    assert check(train(track=["mlflow"]), allowed) == []
    for elsewhere in ("databricks", "databricks://profile", "sqlite:////data/mlflow.db"):
        assert check(train(track=["mlflow"]), {"MLFLOW_TRACKING_URI": elsewhere}) == []
    assert "with four slashes" in check(train(track=["mlflow"]), {"MLFLOW_TRACKING_URI": "sqlite:///m.db"})[0]
    with pytest.raises(LaunchError, match="with WANDB_MODE=disabled nothing is sent"):
        check(train(track=["wandb"]), {"WANDB_MODE": "disabled"})
    assert "wandb login" in check(train(track=["wandb"]), {})[0]
    assert check(train(track=["wandb"]), {"WANDB_MODE": "offline"}) == []
    netrc.write_text("machine api.wandb.ai login user password " + 40 * "a")
    assert check(train(track=["wandb"]), {}) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LaunchError, match=r"wandb is not installed in this environment: .*pip install wandb"):
        check(train(track=["wandb"]), {})
