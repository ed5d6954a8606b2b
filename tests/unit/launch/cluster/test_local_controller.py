"""submitit's local executor; that jobs run in it, and outlive the terminal, tests/integration shows."""

import os
from pathlib import Path
from typing import Any

import pytest

from launch.cluster import local_controller
from launch.config import Cluster
from launch.errors import LaunchError
from launch.node.job import Job


def start(tmp_path: Path, **settings: Any) -> str:
    cluster = Cluster(name="local", timeout_min=1, signal_delay_s=20, grace_s=10, **settings)
    job = Job(tmp_path, nodes=1, nproc=2, grace_s=10)
    return local_controller.start(job, tmp_path / "code", cluster, tmp_path)


@pytest.mark.parametrize(
    ("visible", "settings", "said"),
    [
        ("0", {"gpus_per_node": 4}, "this machine can't run the job: ValueError: 4 gpus requested"),
        ("GPU-a,GPU-b", {}, r"CUDA_VISIBLE_DEVICES: submitit takes numbers only \(got GPU-a,GPU-b\)"),
    ],
)
def test_gpus_that_it_cannot_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, settings: dict[str, int], said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    before = dict(os.environ)
    with pytest.raises(LaunchError, match=said):
        start(tmp_path, **settings)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("visible", "asked", "given"),
    [("", None, 0), ("0", None, 1), ("2,5,7", None, 2), ("2,5,7", 3, 3), ("2,5,7", 0, 0)],
)
def test_gpus_that_a_job_gets(
    monkeypatch: pytest.MonkeyPatch, visible: str, asked: int | None, given: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    cluster = Cluster(name="local", timeout_min=1, signal_delay_s=20, grace_s=10, gpus_per_node=asked)
    assert local_controller._gpus(cluster, nproc=2)["gpus_per_node"] == given


def test_a_starter_that_is_killed(tmp_path: Path) -> None:
    def die() -> str:
        os.kill(os.getpid(), 9)
        return ""

    with pytest.raises(LaunchError, match="was killed"):
        local_controller._detached(die, tmp_path / "log")


def test_what_it_starts_has_left_the_session_and_the_terminal(tmp_path: Path) -> None:
    def look() -> str:
        os.write(1, b"said\n")
        return f"{os.getsid(0)} {os.getpid()} {os.isatty(0)} {os.isatty(1)}"

    session, process, *terminals = local_controller._detached(look, tmp_path / "log").split()
    assert session == process != str(os.getpid())
    assert terminals == ["False", "False"]
    assert (tmp_path / "log").read_text() == "said\n"
