"""What Slurm says of a job that sbatch was asked for; the rest is in ../cluster/test_sbatch.py."""

import os
from pathlib import Path

import pytest
from run_folder import Slurm, slurm

from launch.scheduler import handover


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def test_the_job_of_a_submission_is_known_by_its_script(tmp_path: Path, cluster: Slurm) -> None:
    jobs = {
        "7|PENDING|": "(null)",
        "8|PENDING|": f"{tmp_path}/1/job.sh",
        "9|RUNNING|n1": f"{tmp_path}/12/job.sh",
        "10|COMPLETED|n1": f"{tmp_path}/3/job.sh",
        "11|FAILED|": f"{tmp_path}/4/job.sh",  # refused: Slurm keeps it for a while nevertheless
    }
    cluster.says("squeue", "".join(f"{job}|{script}\n" for job, script in jobs.items()))
    found = [handover.owner(tmp_path / number) for number in ("1", "12", "2", "3", "4")]
    assert found == ["8", "9", None, "10", None]


@pytest.mark.parametrize(
    ("said", "job"),
    [
        ("Welcome to Stampede3\n--> Verifying access to queue (spr)...OK\nSubmitted batch job 51\n", "51"),
        ("Submitted batch job 7 on cluster big\n", "7"),
        ("15786755\n", "15786755"),  # of a wrapper, which may hand in another script than ours
        ("7;big\n", "7"),
        ("42 jobs ahead of yours\n", None),
    ],
)
def test_what_sbatch_answers(tmp_path: Path, cluster: Slurm, said: str, job: str | None) -> None:
    cluster.says("sbatch", said)
    assert handover.hand_in(tmp_path / "job.sh", os.environ).job == job


def test_where_slurm_can_not_be_asked_nobody_waits(tmp_path: Path, cluster: Slurm) -> None:
    """There is no squeue; else it would ask for a minute."""
    cluster.says("sbatch", err="sbatch: error: plug-in failed", code=1)
    found = handover.hand_in(tmp_path / "job.sh", os.environ)
    assert found == handover.Submitted(None, "sbatch: plug-in failed; squeue: not found here")
