"""The energy of jobs, from what a stand-in for sacct says."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folder import Slurm, slurm

from launch.cluster import job_energy
from launch.cluster.job_energy import Allocation, allocations


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def test_each_time_that_a_job_had_nodes(cluster: Slurm) -> None:
    """0 and numbers too large mean that nobody measured; a job that never began had none."""
    lines = [
        "7|100|200|7200000",
        "7|300|Unknown|0",
        "8_3|400|500|18446744073709551614",
        "8_4|Unknown|Unknown|0",
    ]
    cluster.says("sacct", "\n".join([*lines, "9|None|900|", "10|600|700|"]))
    found = allocations({"7", "8_3", "8_4", "9", "10", "-"})
    assert found.problem == ""
    assert found.found == (
        Allocation("7", 100.0, 200.0, 7_200_000),
        Allocation("7", 300.0, None, None),
        Allocation("8_3", 400.0, 500.0, None),
        Allocation("10", 600.0, 700.0, None),
    )
    assert cluster.calls == [
        "sacct --noheader --parsable2 --allocations --duplicates --format=JobID,Start,End,ConsumedEnergyRaw "
        "--jobs=10,7,8,9"
    ]


def test_many_jobs_take_several_calls(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_energy, "JOBS_OF_A_CALL", 2)
    cluster.says("sacct")
    assert allocations({"1", "2", "3"}).found == ()
    assert [call.rpartition("=")[2] for call in cluster.calls] == ["1,2", "3"]


def test_nothing_to_ask(cluster: Slurm) -> None:
    assert allocations(set()) == job_energy.Accounts()


@pytest.mark.parametrize("words", ["sacct: error: Problem talking to the database: Connection refused"])
def test_no_accounts(cluster: Slurm, words: str) -> None:
    assert allocations({"7"}).problem == "sacct: not found here"
    cluster.says("sacct", err=words, code=1)
    assert "Connection refused" in allocations({"7"}).problem
