"""reduce=exact on a cluster: a run that loses half of its nodes goes on with fewer, then with more."""

from pathlib import Path

import pytest
from worker import assert_same_weights, digests, losses

from dnw import ledger
from dnw.run import Run
from slurm.cluster import Cluster
from slurm.events import cancelled, disturb, finishes, is_training, nodes_of, steps, the_run, typed
from slurm.job import until

pytestmark = pytest.mark.xdist_group("slurm")
WAIT = 12  # steps of each attempt: the newest checkpoint is 10 old at most
EXACT = ["reduce=exact", "nproc=1", "micro_batch=4", "steps=80"]


def test_on_changing_nodes_it_ends_with_the_same_bits(
    cluster: Cluster, few_images: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for here in (whole, broken):
        here.mkdir()
        typed(cluster, few_images, here, *EXACT, "nodes=4")
        if here == whole:
            finishes(the_run(whole))
    run = the_run(broken)
    until(lambda: is_training(run) and steps(run) >= WAIT)
    lost = nodes_of(cluster, run)[2:]
    for node in lost:
        cluster.power_off(node)
    cancelled(cluster, run)  # it would wait until there are four
    typed(cluster, few_images, broken, *EXACT, "nodes=2")
    disturb(cluster, run, "worker killed", WAIT, again=lambda: None)
    until(lambda: is_training(run))
    cancelled(cluster, run)
    typed(cluster, few_images, broken, *EXACT, "nodes=1")
    until(lambda: is_training(run))
    for node in lost:
        cluster.start_node(node)
    cluster.wait_idle(*lost)
    cancelled(cluster, run)
    typed(cluster, few_images, broken, *EXACT, "nodes=4", "nproc=2")
    finishes(run)
    assert worlds(run) == [(4, 4), (2, 2), (2, 2), (1, 1), (4, 8)]
    assert_same_weights(run, the_run(whole))
    assert losses(run) == losses(the_run(whole))
    assert digests(run) == digests(the_run(whole))


def worlds(run: Run) -> list[tuple[int, int]]:
    """Nodes and processes of each attempt."""
    starts = [attempt.start for attempt in ledger.read(run)]
    return [(start["nodes"], start["world"]) for start in starts if start is not None]
