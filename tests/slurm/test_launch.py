"""The launcher on a real Slurm: two nodes, two processes on each, taken away in between."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker import assert_same_weights

from dnw import ledger
from dnw.run import Run
from slurm.cluster import Cluster
from slurm.job import fields, state, submit, until

pytestmark = pytest.mark.xdist_group("slurm")
ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    *["+exp=demo_dnw", "nodes=2", "nproc=2", "cluster=slurm", "cluster.partition=low"],
    *["batch=32", "micro_batch=8", "steps=40", "data.workers=0"],
    *["checkpoint.every_steps=10", "log.every_steps=1", "log.digests=true"],
]
SUBMITTED_WITHIN_S = 20  # on two cores that may be busy; undisturbed it takes 2


def typed(cluster: Cluster, shards: Path, here: Path, *words: str) -> str:
    """What the submit command prints, typed on the login node."""
    line = [sys.executable, str(ROOT / "launch" / "slurm.py"), *WORDS, f"data.dir={shards}", *words]
    begun = time.monotonic()
    done = subprocess.run(
        line,
        cwd=here,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=SUBMITTED_WITHIN_S,
        check=False,
    )
    print(f"answered after {time.monotonic() - begun:.1f} s")
    assert done.returncode == 0, done.stderr
    return done.stdout


def the_run(here: Path) -> Run:
    (folder,) = (here / "runs" / "demo_dnw").iterdir()
    return Run(folder)


def job_of(run: Run) -> str:
    return str(json.loads(run.launch.read_text())["job"])


def steps(run: Run) -> int:
    """How far it has come."""
    logged = run.metrics.read_text().splitlines() if run.metrics.exists() else []
    return max((json.loads(line)["step"] for line in logged), default=0)


def all_logs(run: Run) -> str:
    logs = sorted([*run.logs.glob("*.log"), *run.slurm.rglob("*log.*")])
    return "\n".join(f"== {log.name}\n{log.read_text()}" for log in logs)


def finishes(run: Run, timeout_s: float = 150) -> None:
    """Wait until it is done."""
    deadline = time.monotonic() + timeout_s
    while ending(run) != "done":
        assert time.monotonic() < deadline, all_logs(run)
        time.sleep(0.2)


def started(run: Run) -> int:
    """How many attempts have begun."""
    return sum(attempt.start is not None for attempt in ledger.read(run))


def nodes_of(cluster: Cluster, run: Run) -> list[str]:
    """Those that its job runs on, the one that leads first."""
    listed = fields(cluster, job_of(run))["NodeList"]
    return cluster.run("scontrol", "show", "hostnames", listed).split()


def ending(run: Run) -> str | None:
    """Why the last attempt ended."""
    last = ledger.last(run)
    return last.reason if last else None


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nothing happens to."""
    here = tmp_path_factory.mktemp("undisturbed")
    typed(cluster, few_images, here)
    run = the_run(here)
    finishes(run)
    return run


def test_two_nodes_train_together(cluster: Cluster, undisturbed: Run) -> None:
    until(lambda: state(cluster, job_of(undisturbed)) == "COMPLETED")
    (attempt,) = ledger.read(undisturbed)
    assert attempt.start is not None
    assert attempt.start["world"] == 4
    assert fields(cluster, job_of(undisturbed))["NumNodes"] == "2"
    assert sorted(log.name for log in undisturbed.logs.iterdir()) == ["001-0.log", "001-1.log"]


def test_typed_again_it_says_what_is_there(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    everything = submit(cluster, "sleep 1000", "--nodes=4", "--exclusive", "--partition=high")
    until(lambda: state(cluster, everything) == "RUNNING")
    try:
        typed(cluster, few_images, tmp_path)
        run = the_run(tmp_path)
        assert f"queued, job {job_of(run)} on slurm" in typed(cluster, few_images, tmp_path)
    finally:
        cluster.run("scancel", everything)
    until(lambda: steps(run) > 0)
    assert f"running, attempt 1 (job {job_of(run)}, process" in typed(cluster, few_images, tmp_path)
    finishes(run)
    assert "finished" in typed(cluster, few_images, tmp_path)
    assert_same_weights(run, undisturbed)


def test_cancelled_it_has_saved_and_goes_on_when_typed_again(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= 5)
    cluster.run("scancel", job_of(run))
    until(lambda: state(cluster, job_of(run)) == "CANCELLED")
    (attempt,) = ledger.read(run)
    assert attempt.reason == "stopped", all_logs(run)
    assert attempt.end is not None
    stopped_at = attempt.end["step"]
    assert 5 <= stopped_at < 40

    typed(cluster, few_images, tmp_path)
    finishes(run)
    start = ledger.read(run)[1].start
    assert start is not None
    assert start["step"] == stopped_at
    assert_same_weights(run, undisturbed)


def test_preempted_it_comes_back_by_itself(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= 5)
    submit(cluster, "true", "--nodes=4", "--exclusive", "--partition=high")
    finishes(run)
    first, second = ledger.read(run)
    assert first.reason == "stopped", all_logs(run)
    assert first.end is not None
    assert second.start is not None
    assert second.start["step"] == first.end["step"]
    assert fields(cluster, job_of(run))["Restarts"] == "1"
    assert_same_weights(run, undisturbed)


@pytest.mark.parametrize("place", [0, 1])
def test_a_lost_node_costs_no_bit(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, place: int
) -> None:
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= 12)
    node = nodes_of(cluster, run)[place]
    cluster.power_off(node)
    try:
        finishes(run)
    finally:
        cluster.start_node(node)
    assert fields(cluster, job_of(run))["Restarts"] == "1"
    assert_same_weights(run, undisturbed)
    cluster.wait_idle()


@pytest.mark.parametrize("place", [0, 1])
def test_a_node_cut_off_costs_no_bit(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, place: int
) -> None:
    """The attempt that was cut off is still there while the next one runs, and when the link is back."""
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= 12)
    node = nodes_of(cluster, run)[place]
    cluster.cut(node)
    try:
        finishes(run)
    finally:
        cluster.restore(node)
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    cluster.wait_idle()
    assert_same_weights(run, undisturbed)


def test_at_its_time_limit_it_goes_on_by_itself(cluster: Cluster, few_images: Path, tmp_path: Path) -> None:
    """Of 10 minutes, which take one here, half are left when Slurm announces the limit."""
    limit = ["steps=100000", "cluster.timeout_min=10", "cluster.signal_delay_s=300", "cluster.grace_s=100"]
    typed(cluster, few_images, tmp_path, *limit)
    run = the_run(tmp_path)
    try:
        until(lambda: started(run) == 2, timeout_s=120)
    finally:
        cluster.run("scancel", job_of(run))
    first, second = ledger.read(run)
    assert first.reason == "stopped", all_logs(run)
    assert first.end is not None
    assert second.start is not None
    assert second.start["step"] == first.end["step"] > 0
    assert fields(cluster, job_of(run))["Restarts"] == "1"
    until(lambda: state(cluster, job_of(run)) == "CANCELLED")
