"""What is typed on a login node, and what a real Slurm makes of it; nothing here trains."""

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.job import fields, state, submit, until

pytestmark = pytest.mark.xdist_group("slurm commands")
ROOT = Path(__file__).resolve().parents[2]
WORDS = ["+exp=demo_dnw", "batch=64", "micro_batch=4", "steps=1"]
LATER = "cluster.additional_parameters={begin: now+9days}"  # so that it waits
ANSWERED_WITHIN_S = 60  # on two cores that may be busy; undisturbed it takes 1
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(cluster: Cluster, few_images: Path, tmp_path: Path) -> Iterator[Typed]:
    """Types `launch/slurm.py` with more words; what it submitted is cancelled in the end."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(ROOT / "launch" / "slurm.py"), *WORDS, f"data.dir={few_images}", *words]
        return subprocess.run(
            line,
            cwd=tmp_path,
            env={**cluster.environment, **environment},
            capture_output=True,
            text=True,
            timeout=ANSWERED_WITHIN_S,
            check=False,
        )

    yield run
    cluster.run("scancel", "--name=dnw-demo_dnw")
    until(lambda: not cluster.run("squeue", "--noheader", "--name=dnw-demo_dnw"))


def job_in(done: subprocess.CompletedProcess[str]) -> str:
    """The job that was submitted."""
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("job ")]
    return line.split()[1]


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])])
def test_two_starts_at_one_moment(cluster: Cluster, typed: Typed, tmp_path: Path, count: int) -> None:
    """One job, of which the other is told."""
    draw = random.Random(7)
    for number in range(count):
        words = [f"seed={number}", LATER]
        with ThreadPoolExecutor(2) as both:
            starts = [both.submit(typed, *words)]
            time.sleep(draw.uniform(0, 0.5))
            starts.append(both.submit(typed, *words))
        answers = [start.result() for start in starts]
        jobs = cluster.run("squeue", "--noheader", "--name=dnw-demo_dnw", "--format=%i").split()
        assert len(jobs) == number + 1, answers
        told = [
            done for done in answers if f": queued, job {jobs_of(tmp_path, number)} on slurm" in done.stdout
        ]
        assert len(told) == 1, answers
        assert [done.returncode for done in answers] == [0, 0]


def jobs_of(here: Path, number: int) -> str:
    """The job of the run of this seed."""
    (note,) = here.glob(f"runs/demo_dnw/*seed={number}*/launch.json")
    return str(json.loads(note.read_text())["job"])


def test_options_arrive(cluster: Cluster, typed: Typed, account: str) -> None:
    job = job_in(
        typed(
            *["nodes=2", "nproc=2", "cluster.partition=low", "cluster.time=1-02:03", "cluster.exclude=[n2]"],
            *[
                "cluster.nodelist=n3",
                "cluster.gpus_per_node=2",
                "cluster.cpus_per_task=5",
                "cluster.mem=500M",
            ],
            *[f"cluster.account={account}", LATER.replace("{", "{comment: mine, ")],
        )
    )
    found = fields(cluster, job)
    wanted = {
        **{"JobState": "PENDING", "Partition": "low", "TimeLimit": "1-02:03:00", "NumNodes": "2-2"},
        **{"ExcNodeList": "n2", "ReqNodeList": "n3", "CPUs/Task": "5", "MinMemoryNode": "500M"},
        **{"TresPerNode": "gres:gpu:2", "Account": account, "Comment": "mine", "Requeue": "1"},
    }
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.fixture(scope="session")
def account(cluster: Cluster) -> str:
    """An account besides the one that everybody has."""
    cluster.run("sacctmgr", "--immediate", "add", "account", "phys")
    cluster.run("sacctmgr", "--immediate", "add", "user", "root", "account=phys")
    return "phys"


def test_defaults_for_sbatch_hold_but_for_what_is_typed(cluster: Cluster, typed: Typed, account: str) -> None:
    theirs = {"SBATCH_ACCOUNT": account, "SBATCH_PARTITION": "high", "SBATCH_TIMELIMIT": "5"}
    found = fields(cluster, job_in(typed(LATER, SBATCH_NO_REQUEUE="1", **theirs)))
    assert (found["Account"], found["Partition"], found["Requeue"]) == (account, "high", "1")
    assert found["TimeLimit"] == "1-00:00:00"


def test_typed_inside_a_job(cluster: Cluster, few_images: Path, tmp_path: Path) -> None:
    """Nothing of that job is handed on. SBATCH_EXPORT=NONE, which many have, keeps no code from the tasks."""
    outer, seen = tmp_path / "outer.sh", tmp_path / "seen"
    variables = "PATH=/usr/bin:/bin SRUN_DEBUG=3 SBATCH_EXPORT=NONE"
    outer.write_text(f'#!/bin/sh\nexport {variables}\ncd {tmp_path}\nexec "$@" >outer.log 2>&1\n')
    show = f"env | grep -E '^(SLURM|SRUN|CUDA)_' >{seen}.new; mv {seen}.new {seen}"
    typing = [sys.executable, str(ROOT / "launch" / "slurm.py"), *WORDS, f"data.dir={few_images}"]
    options = ["--gpus-per-node=1", "--cpus-per-task=3", "--mem=77", "--output=/dev/null"]
    job = cluster.run("sbatch", "--parsable", *options, str(outer), *typing, f'cluster.setup=["{show}"]')
    until(seen.exists, show=tmp_path / "outer.log")
    found = dict(line.split("=", 1) for line in seen.read_text().splitlines())
    assert found["SLURM_JOB_ID"] != job.strip()
    assert not {"SLURM_MEM_PER_NODE", "SLURM_JOB_GPUS", "SRUN_DEBUG", "CUDA_VISIBLE_DEVICES"} & found.keys()
    (run,) = tmp_path.glob("runs/demo_dnw/*")
    said = run / "slurm" / "1" / f"{found['SLURM_JOB_ID']}_0_log.out"
    until(lambda: said.exists() and "attempt 1, workers print to" in said.read_text())
    cluster.run("scancel", found["SLURM_JOB_ID"])
    cluster.wait_idle()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cluster.partition=nope"],
         "cluster.partition=nope: Slurm refuses the job: invalid partition specified: nope; "
         "Invalid partition name specified\n"),
        (["nodes=8"], "nodes=8: partition low has 4\n"),
        (["cluster.gpus_per_node=9", "nproc=1"], "nodes=1, cluster.gpus_per_node=9, cluster.cpus_per_task=2: "
         "Slurm refuses the job: Requested node configuration is not available\n"),
        (["cluster.timeout_min=2", "cluster.signal_delay_s=150", "cluster.grace_s=60"],
         "cluster.timeout_min: a time limit of 120 s is not longer than the lead with which Slurm announces "
         "it, cluster.signal_delay_s=150; set a longer limit, or no lead\n"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be(typed: Typed, tmp_path: Path, words: list[str], said: str) -> None:
    done = typed(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert not list(tmp_path.glob("runs/*/*/launch.json"))


def test_a_time_limit_over_that_of_the_partition(cluster: Cluster, typed: Typed) -> None:
    """sbatch would take the job, which would wait for ever."""
    cluster.run("scontrol", "update", "partitionname=high", "maxtime=10")
    try:
        done = typed("cluster.partition=high", "cluster.timeout_min=11")
    finally:
        cluster.run("scontrol", "update", "partitionname=high", "maxtime=UNLIMITED")
    said = "cluster.timeout_min: partition high has a time limit of 10 minutes (got 11)\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_refused_once_it_is_submitted_when_typed_rightly(cluster: Cluster, typed: Typed) -> None:
    assert typed("cluster.partition=nope").returncode == 2
    job = job_in(typed("cluster.partition=low", LATER))
    assert state(cluster, job) == "PENDING"
    assert f"queued, job {job} on slurm" in typed("cluster.partition=low").stdout


def test_a_dry_run_shows_what_slurm_would_do(cluster: Cluster, typed: Typed, tmp_path: Path) -> None:
    done = typed("dry_run=true", "nodes=2", "cluster.partition=low")
    assert (done.returncode, done.stderr) == (0, "")
    *_, granted, answer = done.stdout.splitlines()
    assert granted.startswith("# after the TERM of a preemption: partition low: GraceTime 100 s + Kill")
    assert answer.startswith("# sbatch --test-only: Job ")
    assert "on nodes n[1-2]" in answer
    done = typed("dry_run=true", "cluster.partition=nope")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.splitlines()[-1].startswith("# REFUSED: cluster.partition=nope: Slurm refuses the job")
    assert list(tmp_path.iterdir()) == []
    assert cluster.run("squeue", "--noheader", "--name=dnw-demo_dnw") == ""


def test_a_machine_without_slurm(typed: Typed, tmp_path: Path) -> None:
    done = typed(PATH="/nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "sbatch: not found, so this is no login node of a Slurm cluster; cluster=local"
    )
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(cluster: Cluster, typed: Typed, small_disk: Path) -> None:
    with contextlib.suppress(OSError):
        (small_disk / "large").write_bytes(bytes(2**20 - 65536))
    done = typed(f"runs_dir={small_disk}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no space left on device; make room, or name another folder with runs_dir=" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in small_disk.iterdir()] == ["large"]
    assert cluster.run("squeue", "--noheader", "--name=dnw-demo_dnw") == ""


def test_a_node_that_slurm_does_not_know_is_refused_by_it(cluster: Cluster) -> None:
    """Which is why launch/cluster/preflight.py asks before it keeps one out."""
    with pytest.raises(subprocess.CalledProcessError):
        submit(cluster, "true", "--exclude=n99")
