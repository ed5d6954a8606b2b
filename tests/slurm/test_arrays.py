"""Job arrays on a real Slurm: what happens to one element happens to no other, the last one included."""

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from worker import assert_same_weights

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import (
    all_logs,
    assert_same,
    finishes,
    is_training,
    job_of,
    launchers,
    nodes_of,
    steps,
    time_out,
    typed,
)
from slurm.job import fields, state, submit, until

pytestmark = pytest.mark.xdist_group("slurm arrays")
LARGEST = 3
EACH = ["nodes=1", "nproc=1", "cluster.gpus_per_node=0", "cluster.additional_parameters={exclusive: true}"]


@pytest.fixture(scope="module")
def arrays(slurm_here: None) -> Iterator[Cluster]:
    """Four nodes, and arrays of at most three elements."""
    with Cluster(Settings(speed=10, largest_array=LARGEST)) as raised:
        yield raised


def runs_in(here: Path) -> list[Run]:
    return [Run(folder) for folder in sorted((here / "runs" / "demo_dnw").iterdir())]


def last_element(cluster: Cluster, runs: Sequence[Run]) -> Run:
    """The run whose job has the id of the whole array."""
    (found,) = [run for run in runs if fields(cluster, job_of(run))["JobId"] == job_of(run).partition("_")[0]]
    return found


def preempt(cluster: Cluster, run: Run) -> None:
    (node,) = nodes_of(cluster, run)
    submit(cluster, "sleep 0.5", f"--nodelist={node}", "--exclusive", "--partition=high")


def test_each_element_is_one_job(arrays: Cluster, few_images: Path, tmp_path: Path) -> None:
    """The last one is preempted, another cancelled, the last one timed out."""
    typed(arrays, few_images, tmp_path, "-m", "seed=1,2,3", *EACH, "steps=150")
    runs = runs_in(tmp_path)
    until(lambda: all(map(is_training, runs)), timeout_s=180)
    last = last_element(arrays, runs)
    cancelled, untouched = [run for run in runs if run != last]

    preempt(arrays, last)
    until(lambda: len(ledger.read(last)) == 2 and is_training(last), timeout_s=120)
    assert ledger.read(last)[0].cause == "preempted", all_logs(last)

    arrays.run("scancel", job_of(cancelled))
    until(lambda: state(arrays, job_of(cancelled)) == "CANCELLED")

    time_out(arrays, last)
    until(lambda: len(ledger.read(last)) == 3 and is_training(last), timeout_s=120)
    assert ledger.read(last)[1].cause == "timeout", all_logs(last)
    arrays.run("scontrol", "update", f"JobId={job_of(last)}", "TimeLimit=UNLIMITED")

    for run in (last, untouched):
        finishes(run, timeout_s=300)
    assert len(ledger.read(untouched)) == 1
    (only,) = ledger.read(cancelled)
    assert only.cause == "cancelled"
    assert state(arrays, job_of(cancelled)) == "CANCELLED"


def test_a_sweep_over_the_largest_array(arrays: Cluster, few_images: Path, tmp_path: Path) -> None:
    """Four runs, one at a time: two arrays, of which the second waits for the first, a requeue included."""
    words = ["-m", "seed=range(4)", *EACH, "steps=12", "cluster.array_parallelism=1"]
    printed = typed(arrays, few_images, tmp_path, *words)
    runs = runs_in(tmp_path)
    ids = {job_of(run).partition("_")[0] for run in runs}
    assert (len(runs), len(ids)) == (4, 2)
    assert "4 runs in 2 job arrays" in printed
    until(lambda: max(map(steps, runs)) > 2, timeout_s=120)
    (first,) = [run for run in runs if steps(run)]
    arrays.run("scontrol", "requeue", job_of(first))
    most, left = 0, list(runs)
    while left:
        running = arrays.run("squeue", "--noheader", "--array", "--states=RUNNING", f"--jobs={','.join(ids)}")
        most = max(most, len(running.splitlines()))
        left = [run for run in left if not run.result.exists()]
        time.sleep(0.2)
    assert most == 1
    assert sorted(len(ledger.read(run)) for run in runs) == [1, 1, 1, 2]


def test_a_controller_that_is_away_when_a_run_stops(
    arrays: Cluster, few_images: Path, tmp_path: Path
) -> None:
    """Nobody says why it was told to stop, nor takes its request to be requeued; it stays, and asks again."""
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        typed(arrays, few_images, tmp_path / name, *EACH, "steps=60")
    (whole,), (broken,) = runs_in(tmp_path / "whole"), runs_in(tmp_path / "broken")
    until(lambda: is_training(broken), timeout_s=180)
    arrays.stop_controller()
    for pid in launchers(broken):
        os.kill(pid, signal.SIGTERM)
    output = broken.slurm / "1" / f"{job_of(broken)}_0_log.err"
    until(lambda: "stopped on request" in output.read_text(), timeout_s=120, show=output)
    arrays.start_controller()
    for run in (whole, broken):
        finishes(run, timeout_s=300)
    assert len(ledger.read(broken)) == 2, all_logs(broken)
    assert_same_weights(broken, whole)


def requeue(cluster: Cluster, run: Run) -> None:
    cluster.run("scontrol", "requeue", job_of(run))


EVENTS = {"preempted": preempt, "timeout": time_out, "requeued": requeue}


class Disturbed:
    """A run of a sweep to which each event comes once, in an order that was drawn."""

    def __init__(self, cluster: Cluster, run: Run, draw: random.Random) -> None:
        self.cluster, self.run, self.draw = cluster, run, draw
        self.left = draw.sample(list(EVENTS), len(EVENTS))
        self.causes: list[str] = []
        self._is_limited = False
        self._next = draw.randint(2, 8)  # steps of an attempt before an event comes

    def look(self) -> None:
        """Let the next event come if its time is there."""
        attempts = ledger.read(self.run)
        if self._is_limited and attempts[len(self.causes) - 1].end is not None:
            self.cluster.run("scontrol", "update", f"JobId={job_of(self.run)}", "TimeLimit=UNLIMITED")
            self._is_limited = False  # else its next attempt would have as short a time
        if not self.left or len(attempts) <= len(self.causes) or not is_training(self.run):
            return
        if steps(self.run) >= (attempts[-1].first_step or 0) + self._next:
            event = self.left.pop()
            self.causes.append(event)
            self._is_limited = event == "timeout"
            EVENTS[event](self.cluster, self.run)
            self._next = self.draw.randint(2, 8)


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_a_sweep_of_which_each_element_is_disturbed_by_itself(
    arrays: Cluster, few_images: Path, tmp_path: Path
) -> None:
    """Twelve runs; none notices what happens to another, and all end as their undisturbed twins."""
    seed = int(os.environ.get("DNW_SOAK_SEED") or time.time())
    print(f"\nDNW_SOAK_SEED={seed}")
    words = ["-m", "seed=range(12)", *EACH, "steps=60", "cluster.array_parallelism=4"]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    typed(arrays, few_images, tmp_path / "whole", *words)
    twins = runs_in(tmp_path / "whole")
    for twin in twins:
        finishes(twin, timeout_s=900)
    begun = time.monotonic()
    typed(arrays, few_images, tmp_path / "broken", *words)
    runs, draw = runs_in(tmp_path / "broken"), random.Random(seed)
    disturbed = [Disturbed(arrays, run, draw) for run in runs]
    while not all(run.result.exists() for run in runs):
        for one in disturbed:
            one.look()
        assert time.monotonic() < begun + 1500, "\n".join(map(all_logs, runs))
        time.sleep(0.2)
    print(f"{len(runs)} runs, {sum(len(one.causes) for one in disturbed)} events", end=", ")
    print(f"{time.monotonic() - begun:.0f} s")
    for run, twin, one in zip(runs, twins, disturbed, strict=True):
        finishes(run)
        causes = [attempt.cause for attempt in ledger.read(run)]
        assert causes == [*one.causes, "done"], all_logs(run)
        assert_same(run, twin)
