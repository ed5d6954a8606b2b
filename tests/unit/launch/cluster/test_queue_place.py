"""Places in queues, from what a stand-in for squeue says."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folder import Slurm, slurm

from launch.cluster.queue_place import Place, places
from launch.cluster.slurm_queue import QueuedJob


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def job(name: str, partition: str = "low", state: str = "PENDING") -> QueuedJob:
    return QueuedJob(name, state, "Priority", "", partition, 0.0, None, "")


def test_by_priority_then_by_number(cluster: Slurm) -> None:
    queue = [
        "9|low|500|me",
        "8|low|900|ann",
        "10|low|500|me",
        "7_2|low|500|bob",
        "7_11|low|500|bob",
        "5|low|0|me",
        "6+0|low|500|eve",  # of a job of several parts
        "6+1|low|500|eve",
    ]
    cluster.says("places", "\n".join(queue))
    cluster.says("squeue")
    found = places([job("9"), job("10"), job("5"), job("4", "low", "RUNNING")])
    assert found.found == {"9": Place(5, 7, True), "10": Place(6, 7, True)}  # 5 is held: it has none
    (call,) = cluster.calls
    assert call == (
        "squeue --noheader --array --priority --states=PENDING --partition=low --format=%i|%P|%Q|%u"
    )


def test_of_several_partitions_the_nearest_place(cluster: Slurm) -> None:
    cluster.says("places", "1|low|9|ann\n7|low|5|ann\n7|high|5|ann\n2|high|4|ann\n")
    cluster.says("squeue")
    assert places([job("7", "low,high")]).found == {"7": Place(0, 2, False)}
    assert "--partition=high,low " in cluster.calls[0]


def test_nothing_waits(cluster: Slurm) -> None:
    assert places([job("7", state="RUNNING")]).found == {}
    assert cluster.calls == []


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (None, "squeue: not found here"),
        ("slurm is upgraded today\n", "squeue: prints what can't be understood: 'slurm is upgraded today'"),
    ],
)
def test_no_answer(cluster: Slurm, out: str | None, said: str) -> None:
    if out is not None:
        cluster.says("places", out)
        cluster.says("squeue")
    found = places([job("7")])
    assert (found.found, found.problem) == ({}, said)
