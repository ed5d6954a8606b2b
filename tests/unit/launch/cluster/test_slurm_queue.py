"""Slurm's own words, as Slurm 22.05 printed them; what is made of them."""

from pathlib import Path

import pytest
from run_folder import Slurm, make, slurm, submit

from launch.cluster import slurm_queue
from launch.scheduler import slurm_command

# squeue --noheader --array --jobs=... --format=%i|%T|%r|%N|%P|%V|%S|%o, with SLURM_TIME_FORMAT=%s
QUEUE = """\
16_2|PENDING|JobArrayTaskLimit||low|1795411745|N/A|{folder}/job.sh
18|PENDING|Resources||low|1795411745|1826947747|{folder}/job.sh
15|RUNNING|None|n[1-2]|low|1795411745|1795411745|{folder}/job.sh
16_0|RUNNING|None|n[3-4]|low|1795411745|1795411745|{folder}/job.sh
5|PENDING|BeginTime||low|1795411745|1795411855|(null)
"""
# sacct --noheader --parsable2 --allocations --jobs=... --format=JobID,State,ExitCode,Submit,End
ACCOUNTS = """\
12|FAILED|9:0|1795406167|1795408178
19|FAILED|3:0|1795411745|1795411746
20|TIMEOUT|0:0|1795411745|1795411827
16_0|RUNNING|0:0|1795411745|Unknown
2_[1-2%1]|PENDING|0:0|1795411745|Unknown
22|CANCELLED by 0|0:0|1795411746|1795411761
"""
THEN = 1795411744.0  # the jobs were submitted a second later


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def test_jobs_that_wait_and_run(tmp_path: Path, cluster: Slurm) -> None:
    made = [make(tmp_path / "runs", f"default-{number:010}") for number in range(5)]
    jobs = ["15", "16_2", "18", "5", "99"]
    submissions = [
        submit(run, job, at=THEN, folder=str(tmp_path)) for run, job in zip(made, jobs, strict=True)
    ]
    cluster.says("squeue", QUEUE.format(folder=tmp_path))
    answer = slurm_queue.queued(submissions)
    assert answer.problem == ""
    assert {job.id: (job.state, job.reason, job.nodes, job.starts) for job in answer.queued.values()} == {
        "15": ("RUNNING", "None", "n[1-2]", 1795411745.0),
        "16_2": ("PENDING", "JobArrayTaskLimit", "", None),
        "18": ("PENDING", "Resources", "", 1826947747.0),
        "5": ("PENDING", "BeginTime", "", 1795411855.0),
    }
    assert [answer.queued[job].is_running for job in ("15", "18")] == [True, False]
    assert cluster.calls == [
        "squeue --noheader --array --jobs=15,16_2,18,5,99 --format=%i|%T|%r|%N|%P|%V|%S|%o"
    ]


@pytest.mark.parametrize("is_later", [False, True])
def test_a_job_of_the_same_number_that_is_another(tmp_path: Path, cluster: Slurm, is_later: bool) -> None:
    """On a cluster that was set up anew ids come again: told by the script, or by the time."""
    one = submit(make(tmp_path / "runs"), "15", at=THEN + 7200 * is_later)
    cluster.says("squeue", QUEUE.format(folder=one.folder if is_later else "/elsewhere"))
    assert slurm_queue.queued([one]).queued == {}
    one = submit(make(tmp_path / "runs", "default-1"), "20", at=THEN + 7200)
    cluster.says("sacct", ACCOUNTS)
    assert slurm_queue.ended([one]).ended == {}


def test_jobs_that_have_ended(tmp_path: Path, cluster: Slurm) -> None:
    made = [make(tmp_path / "runs", f"default-{number:010}") for number in range(3)]
    submissions = [submit(run, job, at=THEN) for run, job in zip(made, ["19", "20", "22"], strict=True)]
    cluster.says("sacct", ACCOUNTS)
    answer = slurm_queue.ended(submissions)
    found = {job.id: (job.state, job.exit_code, job.ended) for job in answer.ended.values()}
    assert found == {
        "19": ("FAILED", "3:0", 1795411746.0),
        "20": ("TIMEOUT", "0:0", 1795411827.0),
        "22": ("CANCELLED", "0:0", 1795411761.0),
    }


def test_a_job_that_slurm_has_forgotten_is_no_problem(tmp_path: Path, cluster: Slurm) -> None:
    cluster.says("squeue", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    answer = slurm_queue.queued([submit(make(tmp_path / "runs"), "7")])
    assert (answer.queued, answer.problem) == ({}, "")


def test_slurm_that_does_not_answer(tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    one = submit(make(tmp_path / "runs"), "7")
    assert slurm_queue.queued([one]).problem == "squeue: not found here"
    assert slurm_queue.ended([one]).problem == "sacct: not found here"
    cluster.says("squeue", err="squeue: error: no server\nsqueue: fatal: no configuration\n", code=1)
    assert slurm_queue.queued([one]).problem == "squeue: fatal: no configuration"
    cluster.says("sacct", err="Slurm accounting storage is disabled\n", code=1)
    assert slurm_queue.ended([one]).problem == "sacct: Slurm accounting storage is disabled"
    monkeypatch.setattr(slurm_command, "PATIENCE_S", 0.2)
    (cluster.lab / "bin" / "squeue").write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    assert slurm_queue.queued([one]).problem == "squeue: no answer within 0.2 s"


def test_nothing_is_asked_of_nothing(cluster: Slurm) -> None:
    assert slurm_queue.queued([]) == slurm_queue.ended([]) == slurm_queue.Answer()
    assert cluster.calls == []


def test_elements_that_never_started_share_a_record(tmp_path: Path, cluster: Slurm) -> None:
    """As a Slurm 22.05 has it, found by the id of the array alone; what is told of one element holds."""
    jobs = ["16_0", "16_2", "16_3", "16_9"]
    made = [make(tmp_path / "runs", f"default-{number:010}") for number in range(4)]
    submissions = [submit(run, job, at=THEN) for run, job in zip(made, jobs, strict=True)]
    cluster.says(
        "sacct",
        "16_2|RUNNING|0:0|1795411745|Unknown\n"
        "16_[2-3%2]|CANCELLED by 0|0:0|1795411745|1795411761\n"
        "16_0|TIMEOUT|0:0|1795411745|1795411827\n",
    )
    states = {job: ended.state for job, ended in slurm_queue.ended(submissions).ended.items()}
    assert states == {"16_0": "TIMEOUT", "16_2": "RUNNING", "16_3": "CANCELLED"}
    assert "--jobs=16 " in cluster.calls[0]


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_what_can_not_be_understood_is_no_answer(tmp_path: Path, cluster: Slurm, command: str) -> None:
    one = submit(make(tmp_path / "runs"), "7")
    cluster.says(command, "Maintenance on Monday!\n")
    answer = slurm_queue.queued([one]) if command == "squeue" else slurm_queue.ended([one])
    assert answer.problem == f"{command}: prints what can't be understood: 'Maintenance on Monday!'"
