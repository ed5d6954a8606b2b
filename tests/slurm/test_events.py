"""Every way in which a cluster can take a job away: the run goes on, and ends with the same bits."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worker import assert_same_weights, losses

from dnw import ledger
from dnw.run import Run
from slurm import events
from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import Undo, all_logs, cost, finishes, job_of, steps, the_run, typed
from slurm.job import fields, until

pytestmark = pytest.mark.xdist_group("slurm")
AT = 15  # steps done when the event comes: 5 more than a checkpoint
EVERY = 10  # steps between checkpoints
LONGER = ["steps=250"]

# event, what does it, cause in the ledger, steps lost at most
EVENTS: list[tuple[str, Callable[[Cluster, Run], Undo], str, int]] = [
    ("preempted, TERM alone", events.preempted, "preempted", 0),
    ("scontrol requeue", events.requeued_by_an_operator, "requeued", 0),
    ("scancel, typed again", events.cancelled, "cancelled", 0),
    ("power-off of the first node", events.powered_off(0), "node failure", EVERY),
    ("power-off of the second node", events.powered_off(1), "node failure", EVERY),
    ("link of the first node cut", events.cut_off(0), "node failure", EVERY),
    ("link of the second node cut", events.cut_off(1), "node failure", EVERY),
    ("worker killed", events.worker_killed, "killed", EVERY),
    ("torchrun's agent killed", events.agent_killed, "killed", EVERY),
]


@pytest.fixture(scope="session")
def longer(cluster: Cluster, few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A longer run that nothing happens to."""
    here = tmp_path_factory.mktemp("longer")
    typed(cluster, few_images, here, *LONGER)
    run = the_run(here)
    finishes(run)
    return run


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A row for each event, shown at the end."""
    rows = ["| event | steps lost | seconds to the next step | cause |", "|---|---|---|---|"]
    yield rows
    print("\n".join(["", *rows]))


def assert_same(run: Run, undisturbed: Run) -> None:
    """Weights, momentum, losses and samples are those of the run that nothing happened to; no overlap."""
    assert_same_weights(run, undisturbed)
    assert losses(run) == losses(undisturbed)
    assert events.samples_by_step(run) == events.samples_by_step(undisturbed)
    assert list(events.scalars(run, "train/loss")) == sorted(losses(undisturbed))
    assert [attempt.number for attempt in ledger.read(run) if attempt.end is None] == []
    assert ledger.read(run)[-1].reason == "done"


@pytest.mark.parametrize(("name", "event", "cause", "most"), EVENTS, ids=[event[0] for event in EVENTS])
def test_an_event_costs_no_bit(
    cluster: Cluster,
    few_images: Path,
    tmp_path: Path,
    undisturbed: Run,
    table: list[str],
    name: str,
    event: Callable[[Cluster, Run], Undo],
    cause: str,
    most: int,
) -> None:
    typed(cluster, few_images, tmp_path)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= AT)
    reached, at = steps(run), time.time()
    undo = event(cluster, run)
    try:
        if event is events.cancelled:
            typed(cluster, few_images, tmp_path)
        until(lambda: len(ledger.read(run)) > 1 or run.result.exists(), timeout_s=90)
        if name.startswith("link"):  # the attempt that was passed over ends while the next one works
            until(lambda: len(events.workers(run)) <= 4, timeout_s=20)
        finishes(run)
    except AssertionError as error:
        error.add_note(all_logs(run))
        raise
    finally:
        undo()
        cluster.wait_idle()
    assert_same(run, undisturbed)
    spent = cost(run, name, at, reached)
    table.append(spent.row())
    assert spent.cause == cause, all_logs(run)
    assert 0 <= spent.lost <= most


def test_a_worker_that_hangs_ends_the_attempt_with_its_stacks(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, table: list[str]
) -> None:
    typed(cluster, few_images, tmp_path, "watchdog.seconds=12", fault=f"2:step {AT}:HANG:1")
    run = the_run(tmp_path)
    until(lambda: steps(run) >= AT)
    at = time.time()
    finishes(run)
    assert_same(run, undisturbed)
    table.append(cost(run, "a worker hangs (watchdog of 12 s)", at, AT).row())
    first = ledger.read(run)[0]
    assert first.reason == "hung"
    assert "no progress for 12 s after step" in str(first.end)  # 15; of the rank that hangs, 14
    printed = "".join(run.log(1, node).read_text() for node in (0, 1))
    assert "no progress for 12 s" in printed
    assert "faults.py" in printed  # the stack says where


@pytest.mark.usefixtures("slurm_here")
@pytest.mark.parametrize("settings", [Settings(speed=10, user_signal=True), Settings(speed=10, grace_s=0)])
def test_preempted_in_other_ways(
    few_images: Path, tmp_path: Path, undisturbed: Run, table: list[str], settings: Settings
) -> None:
    with Cluster(settings) as cluster:
        typed(cluster, few_images, tmp_path)
        run = the_run(tmp_path)
        until(lambda: steps(run) >= AT)
        reached, at = steps(run), time.time()
        events.preempted(cluster, run)
        finishes(run)
    assert_same(run, undisturbed)
    name = "preempted, user signal first" if settings.user_signal else "preempted, grace 0"
    spent = cost(run, name, at, reached)
    table.append(spent.row())
    assert spent.cause == "preempted"
    assert spent.lost <= (0 if settings.user_signal else EVERY)


def test_a_killed_slurmd_is_noticed_late(
    cluster: Cluster, few_images: Path, tmp_path: Path, longer: Run, table: list[str]
) -> None:
    """Its tasks live on, until Slurm takes the node for lost."""
    typed(cluster, few_images, tmp_path, *LONGER)
    run = the_run(tmp_path)
    until(lambda: steps(run) >= AT)
    at = time.time()
    undo = events.slurmd_killed(cluster, run)
    try:
        until(lambda: len(ledger.read(run)) > 1, timeout_s=90)
        finishes(run)
    finally:
        undo()
        cluster.wait_idle()
    assert_same(run, longer)
    spent = cost(run, "slurmd killed", at, AT)
    table.append(spent.row())
    assert spent.cause == "node failure"
    assert spent.lost <= EVERY


def test_at_its_time_limit_it_goes_on_by_itself(
    cluster: Cluster, few_images: Path, tmp_path: Path, longer: Run, table: list[str]
) -> None:
    """Of 5 minutes, which take 30 seconds here, less than two are left when Slurm announces the limit."""
    limit = ["cluster.timeout_min=5", "cluster.signal_delay_s=100", "cluster.grace_s=60"]
    typed(cluster, few_images, tmp_path, *LONGER, *limit)
    run = the_run(tmp_path)
    until(lambda: len(ledger.read(run)) > 1, timeout_s=120)
    finishes(run)
    first, second = ledger.read(run)[:2]
    assert (first.reason, first.cause) == ("stopped", "timeout"), all_logs(run)
    assert second.first_step == first.last_step
    assert first.end is not None
    table.append(cost(run, "time limit (from the save on)", first.end["time"], first.last_step or 0).row())
    assert int(fields(cluster, job_of(run))["Restarts"]) >= 1
    assert_same(run, longer)
