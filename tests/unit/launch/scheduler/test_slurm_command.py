import os
from pathlib import Path

import pytest
from run_folder import Slurm, slurm

from launch.scheduler import slurm_command
from launch.scheduler.slurm_command import SlurmError


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def test_an_order_that_is_refused(cluster: Slurm) -> None:
    cluster.says("scontrol", err="Invalid job id specified for job 9999\n", code=1)
    with pytest.raises(SlurmError, match=r"^scontrol: Invalid job id specified for job 9999$"):
        slurm_command.ask("scontrol", "requeue", "9999")
    assert "SLURM_TIME_FORMAT" not in os.environ


def test_times_come_in_seconds_and_a_signal_is_no_answer(cluster: Slurm) -> None:
    cluster.says("squeue")
    program = cluster.lab / "bin" / "squeue"
    once = '[ -e "$LAB/again" ] || { : >"$LAB/again"; kill -TERM $$; }'
    program.write_text(f'#!/bin/sh\n{once}\necho "$1 $SLURM_TIME_FORMAT"\n')
    assert slurm_command.ask("squeue", "--me") == "--me %s\n"  # the second time


def test_a_command_that_is_not_there(cluster: Slurm) -> None:
    with pytest.raises(SlurmError, match=r"^sinfo: not found here$"):
        slurm_command.ask("sinfo")


def test_words_of_scontrol() -> None:
    assert slurm_command.fields("JobId=7 Name=a=b Dependency= Nodes=n[1-2]") == {
        **{"JobId": "7", "Name": "a=b", "Dependency": "", "Nodes": "n[1-2]"}
    }
    commented = slurm_command.fields("JobId=7 Reason=None Comment=ended by Reason=TimeLimit once")
    assert commented["Reason"] == "None"


def test_the_record_of_one_job_among_those_of_its_array() -> None:
    text = (
        "JobId=7 ArrayJobId=7 ArrayTaskId=2 JobState=RUNNING\n"
        "JobId=8 ArrayJobId=7 ArrayTaskId=0 JobState=PENDING\n\n"
        "JobId=9 JobState=FAILED\n"
    )
    said = {job: slurm_command.job_record(text, job) for job in ("7_2", "7_0", "9", "7", "7_1")}
    states = {job: record and record["JobState"] for job, record in said.items()}
    assert states == {"7_2": "RUNNING", "7_0": "PENDING", "9": "FAILED", "7": None, "7_1": None}


def test_names_that_are_no_utf_8_are_kept(cluster: Slurm) -> None:
    """As file names are: a script's path has to be found again among what squeue prints."""
    cluster.says("squeue")
    (cluster.lab / "bin" / "squeue").write_text("#!/bin/sh\nprintf '4711|/runs/caf\\351\\n'\n")
    assert slurm_command.ask("squeue") == f"4711|{os.fsdecode(b'/runs/caf' + bytes([0xE9]))}\n"
