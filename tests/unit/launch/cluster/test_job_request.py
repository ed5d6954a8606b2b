"""What a job asks for, by its plan; tests/unit/launch/cluster/test_submit.py has what reaches sbatch."""

from pathlib import Path
from typing import Any

import pytest
from example import train

from dnw.config import parse_as
from dnw.runs.folder import Run
from launch.cluster import job_request
from launch.cluster.preflight import AS_SET
from launch.config import Cluster, Launch
from launch.prepare import RunPlan


def plan(name: str = "one", **cluster: Any) -> RunPlan:
    asked = parse_as(Cluster, {"name": "slurm", "grace_s": 120, "gpus_per_node": 0, **cluster})
    values: dict[str, Any] = {"nodes": 1, "nproc": 2, "runs_dir": Path("/runs"), "port": None}
    launch = Launch(**values, fresh=False, dry_run=False, cluster=asked)
    return RunPlan(Run(Path("/runs/example", name)), train(threads=3), launch)


@pytest.mark.parametrize(
    ("cluster", "cpus", "mem"),
    [({}, 2, None), ({"cpus_per_task": 5, "mem_gb": 1.5}, 5, "1536M"), ({"mem": "2G"}, 2, "2G")],
)
def test_cpus_and_memory(cluster: dict[str, Any], cpus: int, mem: str | None) -> None:
    """Left out, the CPUs are what the processes compute and load with, and the memory is left to Slurm."""
    one = plan(**cluster)
    asked = job_request.parameters([[one]], AS_SET)
    each = cpus if "cpus_per_task" in cluster else cpus * (3 + one.train.data.workers)
    assert (asked["cpus_per_task"], asked.get("mem")) == (each, mem)
    assert asked["srun_args"] == [f"--cpus-per-task={each}"]


def test_runs_that_share_a_job() -> None:
    """CPUs and memory of all of the largest pack, the GPUs of one, and the code of the first of each."""
    one, more = plan("a", mem="2G", gpus_per_node=1), plan("b", mem="2G", gpus_per_node=1, cpus_per_task=7)
    asked = job_request.parameters([[one, more, one], [more]], AS_SET)
    alone = job_request.parameters([[one]], AS_SET)
    assert (asked["mem"], asked["gpus_per_node"]) == ("6G", 1)
    assert asked["cpus_per_task"] == 7 + 2 * alone["cpus_per_task"]
    assert any("CODE=(/runs/example/a/code.zip /runs/example/b/code.zip)" in line for line in asked["setup"])
    assert job_request.parameters([[plan(mem_gb=1.5)] * 4], AS_SET)["mem"] == "6144M"


def test_each_option_as_the_user_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "ours")
    one = plan(mem_gb=2, time="1:00:00")
    said = job_request.stated([one, one], job_request.parameters([[one], [one]], AS_SET))
    assert (said["mem"], said["time"], said["array"]) == (
        "cluster.mem_gb=2", "cluster.time=1:00:00", "-m=2 runs"
    )  # fmt: skip
    assert said["account"] == "SBATCH_ACCOUNT=ours"
