"""reduce=exact on a cluster: a run that loses half of its nodes goes on with fewer, then with more."""

from collections.abc import Callable
from pathlib import Path

import pytest
from worker import assert_same_weights, digests, losses

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm.cluster import Cluster
from slurm.events import (
    cancelled,
    finishes,
    is_training,
    nodes_of,
    steps,
    the_run,
    typed,
    worker_killed,
)
from slurm.job import until

pytestmark = pytest.mark.xdist_group("slurm runs")
EXACT = ["reduce=exact", "nproc=1", "micro_batch=4", "steps=36"]
SAVED = 7  # steps, of which 5 are in a checkpoint


def works(run: Run, attempt: int, since: int = 0) -> Callable[[], bool]:
    return lambda: len(ledger.read(run)) == attempt and is_training(run) and steps(run) >= since


def test_on_changing_nodes_it_ends_with_the_same_bits(
    cluster: Cluster, few_images: Path, tmp_path: Path
) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder in (beside, here):
        folder.mkdir()
    typed(cluster, few_images, beside, *EXACT, "nodes=1", "cluster=local")
    whole = the_run(beside)
    typed(cluster, few_images, here, *EXACT)
    run = the_run(here)
    until(works(run, 1, since=SAVED))
    lost = nodes_of(cluster, run)[1]
    cluster.power_off(lost)
    cancelled(cluster, run)  # it would wait until there are two
    typed(cluster, few_images, here, *EXACT, "nodes=1")
    until(works(run, 2, since=2 * SAVED))
    worker_killed(cluster, run, rank=0)
    cluster.start_node(lost)
    until(works(run, 3))
    cancelled(cluster, run)
    typed(cluster, few_images, here, *EXACT, "nproc=2")
    finishes(run)
    finishes(whole)

    starts = [attempt.start for attempt in ledger.read(run)]
    assert [start and (start["nodes"], start["world"]) for start in starts] == [
        *((2, 2), (1, 1), (1, 1), (2, 4))
    ]
    assert_same_weights(run, whole)
    assert losses(run) == losses(whole)
    assert digests(run) == digests(whole)
