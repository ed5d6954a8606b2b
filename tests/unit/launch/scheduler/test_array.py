from pathlib import Path

import pytest
from run_folder import slurm

from launch.scheduler import array

OF_A_JOB = {"SLURM_JOB_ID": "7", "PATH": "/bin"}


def test_an_element_never_calls_itself_by_the_id_of_the_array() -> None:
    """That is what SLURM_JOB_ID is of the last element to start."""
    assert array.own_name(OF_A_JOB) == "7"
    assert array.own_name({**OF_A_JOB, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}) == "7_3"
    assert array.own_name({**OF_A_JOB, "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "0"}) == "5_0"


def test_the_array_of_an_element() -> None:
    assert [array.array_of(job) for job in ("7_12", "7")] == ["7", "7"]


@pytest.mark.parametrize(
    ("written", "jobs"),
    [
        ("7", ["7"]),
        ("7_3", ["7_3"]),
        ("7_[3]", ["7_3"]),
        ("7_[0-2%1]", ["7_0", "7_1", "7_2"]),
        ("7_[0,2-3,8-12:2%4]", ["7_0", "7_2", "7_3", "7_8", "7_10", "7_12"]),
    ],
)
def test_elements_that_one_record_is_of(written: str, jobs: list[str]) -> None:
    assert list(array.names(written)) == jobs


@pytest.mark.parametrize(
    ("said", "largest"),
    [
        ("MaxArraySize            = 1001\nSchedulerParameters     = bf_interval=1", 1001),
        ("MaxArraySize            = 1001\nSchedulerParameters     = bf_interval=1,max_array_tasks=4", 4),
        ("MaxArraySize            = 0", 1),
        ("KillWait                = 30 sec", array.DEFAULT_LARGEST),
        (None, array.DEFAULT_LARGEST),
    ],
)
def test_the_largest_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, largest: int
) -> None:
    cluster = slurm(tmp_path, monkeypatch)
    if said is not None:
        cluster.says("scontrol", said)
    assert array.largest() == largest
