"""Many random disturbances of one run on a real cluster: `make soak`. DNW_SOAK_SEED=N draws the same ones."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from worker import assert_same_weights, losses

from dnw import ledger
from dnw.run import Run
from slurm import events
from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import all_logs, cost, finishes, steps, the_run, typed
from slurm.job import until

DISTURBANCES = 50
STEPS = 700
LONG = [f"steps={STEPS}", "checkpoint.every_steps=2", "eval_every_epochs=20", "watchdog.seconds=60"]
EVENTS = {
    "preempted": events.preempted,
    "scontrol requeue": events.requeued_by_an_operator,
    "scancel, typed again": events.cancelled,
    "power-off, first node": events.powered_off(0),
    "power-off, second node": events.powered_off(1),
    "link cut, first node": events.cut_off(0),
    "link cut, second node": events.cut_off(1),
    "slurmd killed": events.slurmd_killed,
    "worker killed": events.worker_killed,
    "torchrun's agent killed": events.agent_killed,
}


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_disturbed_again_and_again_it_ends_with_the_same_bits(
    slurm_here: None, few_images: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("DNW_SOAK_SEED") or time.time())
    print(f"\nDNW_SOAK_SEED={seed}\n| event | steps lost | seconds to the next step | cause |")
    print("|---|---|---|---|")
    draw = random.Random(seed)
    with Cluster(Settings(speed=10, grace_s=8, kill_wait_s=8)) as cluster:
        for name in ("whole", "broken"):
            (tmp_path / name).mkdir()
        typed(cluster, few_images, tmp_path / "whole", *LONG)
        whole = the_run(tmp_path / "whole")
        finishes(whole, timeout_s=600)
        typed(cluster, few_images, tmp_path / "broken", *LONG)
        broken = the_run(tmp_path / "broken")
        drawn: Counter[str] = Counter()
        for _ in range(DISTURBANCES):
            drawn[_disturb(cluster, broken, few_images, draw)] += 1
        finishes(broken, timeout_s=600)
    print(dict(drawn))
    assert_same_weights(broken, whole)
    assert losses(broken) == losses(whole)
    assert events.samples_by_step(broken) == events.samples_by_step(whole)
    assert list(events.scalars(broken, "train/loss")) == sorted(losses(whole))


def _disturb(cluster: Cluster, run: Run, shards: Path, draw: random.Random) -> str:
    """One event, a few steps after the run has gone on from the one before; prints what it cost."""
    name = draw.choice(list(EVENTS))
    try:
        until(lambda: _is_training(run), timeout_s=180)
        begun = steps(run)
        wait = draw.randint(3, 8)
        until(lambda: steps(run) >= min(begun + wait, STEPS - 5))
        attempt, reached, at = ledger.read(run)[-1].number, steps(run), time.time()
        undo = EVENTS[name](cluster, run)
        try:
            if name == "scancel, typed again":
                typed(cluster, shards, run.folder.parents[2], *LONG)
            until(lambda: ledger.read(run)[-1].number > attempt and _is_training(run), timeout_s=180)
        finally:
            undo()
        print(cost(run, name, at, reached, attempt).row(), flush=True)
        cluster.wait_idle(*_unused(cluster, run))
    except (AssertionError, IndexError, KeyError) as error:
        error.add_note(f"{name}\n{all_logs(run)}")
        raise
    return name


def _is_training(run: Run) -> bool:
    last = ledger.last(run)
    return last is not None and last.step is not None and last.end is None


def _unused(cluster: Cluster, run: Run) -> list[str]:
    """The nodes that the run does not occupy: an event must find some to go on with."""
    return sorted(set(cluster.settings.names) - set(events.nodes_of(cluster, run)))
