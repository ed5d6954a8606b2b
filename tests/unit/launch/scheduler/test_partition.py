from pathlib import Path

import pytest
from login_node import commands

from launch.scheduler import partition
from launch.scheduler.partition import Partition
from launch.scheduler.slurm_command import UnreachedError

SHORT = Partition("short", nodes=4, max_nodes=2, longest_s=3600)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return commands(tmp_path, monkeypatch)


@pytest.mark.usefixtures("lab")
def test_what_scontrol_says() -> None:
    low = Partition("low", nodes=4)
    assert partition.ask(None) == [low]
    assert partition.ask("short,low,none") == [low, SHORT]
    assert partition.ask("odd") == [Partition("odd")]
    assert partition.existing(["n1", "n9", "n4"]) == ["n1", "n4"]


def test_without_slurm_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert partition.ask(None) == []
    assert partition.existing(["n1"]) == []


def test_a_controller_that_does_not_answer_is_told(lab: Path) -> None:
    """A submission is refused before fresh=true moves the run aside."""
    script = lab / "bin" / "scontrol"
    script.write_text(
        "#!/bin/sh\necho 'slurm_load_partitions: Unable to contact slurm controller' >&2\nexit 1\n"
    )
    with pytest.raises(UnreachedError, match=r"^scontrol: .*Unable to contact"):
        partition.ask(None)


@pytest.mark.parametrize(
    ("nodes", "limit_s", "said"),
    [
        (2, 3600, None),
        (5, None, "nodes=5: partition short has 4"),
        (3, 60, "nodes=3: partition short gives a job 2 at most"),
        (3, None, None),
        (1, 3660, "cluster.timeout_min: partition short has a time limit of 60 minutes (got 61)"),
    ],
)
def test_a_job_that_would_wait_for_ever(nodes: int, limit_s: int | None, said: str | None) -> None:
    assert SHORT.refusal(nodes, limit_s) == said
    assert Partition("odd").refusal(nodes, limit_s) is None
