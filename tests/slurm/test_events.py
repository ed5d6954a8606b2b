"""Every way in which a cluster can take a job away: the run goes on, and ends with the same bits."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.scheduler import stop_grace
from slurm import events
from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import (
    ROOT,
    TIME_LIMIT,
    TYPED_AGAIN,
    all_logs,
    assert_same,
    cost,
    disturb,
    finishes,
    is_training,
    job_of,
    steps,
    the_run,
    typed,
)
from slurm.job import accounts, fields, submit, until

pytestmark = pytest.mark.xdist_group("slurm events")
EVERY = 5  # steps between checkpoints
WAIT = 8  # steps of an attempt before the next event: 3 more than a checkpoint, if it began with one
LONGER = ["steps=200"]

# Events that come to one run, one after the other; the cause that the ledger gives, steps lost at most.
ASKED = {
    "preempted, TERM alone": ("preempted", 0),
    "scontrol requeue": ("requeued", 0),
    TYPED_AGAIN: ("cancelled", 0),
    TIME_LIMIT: ("timeout", 0),
    "worker killed": ("killed", EVERY),
    "torchrun's agent killed": ("killed", EVERY),
}
LOST = {  # of the second node: test_soak.py
    "power-off of the first node": ("node failure", EVERY),
    "link of the first node cut": ("node failure", EVERY),
    "slurmd killed": ("node failure", EVERY),
}


@pytest.fixture(scope="session")
def longer(cluster: Cluster, few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A longer run that nothing happens to: it works beside the others, out of the cluster's reach."""
    here = tmp_path_factory.mktemp("longer")
    typed(cluster, few_images, here, *LONGER, "cluster=local", "nodes=1", "nproc=2")
    run = the_run(here)
    yield run
    finishes(run)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A row for each event, shown at the end; DNW_EVENTS_TABLE=FILE writes it to a file as well."""
    rows = ["| event | steps lost | seconds to the next step | cause |", "|---|---|---|---|"]
    yield rows
    text = "\n".join(["", *rows, ""])
    print(text)
    if file := os.environ.get("DNW_EVENTS_TABLE"):
        Path(file).write_text(text)


@pytest.mark.parametrize("sequence", [ASKED, LOST], ids=["stops", "losses"])
def test_events_cost_no_bit(
    cluster: Cluster,
    few_images: Path,
    tmp_path: Path,
    longer: Run,
    table: list[str],
    sequence: dict[str, tuple[str, int]],
) -> None:
    typed(cluster, few_images, tmp_path, *LONGER)
    run = the_run(tmp_path)
    for event, (cause, most) in sequence.items():
        spent = disturb(cluster, run, event, WAIT, lambda: typed(cluster, few_images, tmp_path, *LONGER))
        table.append(spent.row())
        assert spent.cause == cause, all_logs(run)
        assert 0 <= spent.lost <= most
    finishes(run)
    assert len(ledger.read(run)) == len(sequence) + 1
    finishes(longer)
    assert_same(run, longer)
    cluster.wait_idle()


def test_a_worker_that_hangs_ends_the_attempt_with_its_stacks(
    cluster: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, table: list[str]
) -> None:
    typed(cluster, few_images, tmp_path, "watchdog.seconds=12", fault=f"1:step {WAIT}:HANG:1")
    run = the_run(tmp_path)
    finishes(run)
    assert_same(run, undisturbed)
    first = ledger.read(run)[0]
    assert first.reason == "hung"
    assert first.end is not None
    table.append(cost(run, "a worker hangs (from the watchdog's bark on)", first.end["time"], WAIT).row())
    assert "no progress for 12 s after step" in str(first.end)  # 8; of the rank that hangs, 7
    printed = "".join(run.log(1, node).read_text() for node in (0, 1))
    assert "no progress for 12 s" in printed
    assert "faults.py" in printed  # the stack says where


@pytest.mark.usefixtures("slurm_here")
@pytest.mark.parametrize(
    "settings",
    [
        Settings(speed=10, user_signal=True),
        pytest.param(Settings(speed=10, grace_s=0), marks=pytest.mark.soak),
    ],
    ids=["user signal", "no grace"],
)
def test_preempted_in_other_ways(
    few_images: Path, tmp_path: Path, undisturbed: Run, table: list[str], settings: Settings
) -> None:
    with Cluster(settings) as cluster:
        typed(cluster, few_images, tmp_path)
        run = the_run(tmp_path)
        until(lambda: steps(run) >= WAIT)
        reached, at = steps(run), time.time()
        events.preempted(cluster, run)
        finishes(run)
    assert_same(run, undisturbed)
    name = "preempted, user signal first" if settings.user_signal else "preempted, grace 0"
    spent = cost(run, name, at, reached)
    table.append(spent.row())
    assert spent.cause == "preempted"
    assert spent.lost <= (0 if settings.user_signal else EVERY)


GRACE_S = 200  # of the cluster's clock


@pytest.fixture(scope="module")
def by_qos(slurm_here: None) -> Iterator[Cluster]:
    """`urgent` preempts `spare`, which is requeued, and `last`, which is cancelled."""
    with Cluster(Settings(speed=10, by_qos=True)) as raised:
        for name, mode in (("spare", "requeue"), ("last", "cancel")):
            limits = [f"gracetime={GRACE_S}", f"preemptmode={mode}"]
            raised.run("sacctmgr", "--immediate", "add", "qos", name, *limits)
        raised.run("sacctmgr", "--immediate", "add", "qos", "urgent", "preempt=spare,last")
        raised.run("sacctmgr", "--immediate", "modify", "user", "root", "set", "qos+=spare,last,urgent")
        yield raised


def test_the_grace_time_is_that_of_the_qos(
    by_qos: Cluster, few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", by_qos.environment["PATH"])
    assert stop_grace.grants("low", "spare") == stop_grace.Grants("low", "spare", GRACE_S, 100)
    words = ["+exp=demo_dnw", "cluster.qos=spare", f"data.dir={few_images}", "dry_run=true"]
    line = [sys.executable, str(ROOT / "launch" / "slurm.py"), *words]
    told = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"QOS spare: GraceTime {GRACE_S} s + KillWait 100 s" in told.stdout


@pytest.mark.parametrize("qos", [pytest.param("spare", marks=pytest.mark.soak), "last"])
def test_preempted_by_another_qos_it_goes_on(
    by_qos: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, qos: str
) -> None:
    """Where the mode is to cancel, Slurm doesn't requeue it: the launcher asks for that."""
    typed(by_qos, few_images, tmp_path, f"cluster.qos={qos}")
    run = the_run(tmp_path)
    until(lambda: is_training(run) and steps(run) >= WAIT, timeout_s=180)
    assert fields(by_qos, job_of(run))["QOS"] == qos
    submit(by_qos, "sleep 0.5", "--nodes=4", "--exclusive", "--qos=urgent")
    finishes(run, timeout_s=300)
    first, second = ledger.read(run)
    assert (first.reason, first.cause) == ("stopped", "preempted"), all_logs(run)
    assert second.first_step == first.last_step
    assert second.job == first.job
    until(lambda: accounts(by_qos, job_of(run))[-1] == "COMPLETED")
    assert_same(run, undisturbed)
