"""The self-test on a cluster: two nodes, requeued amid its checks, and faults that only two nodes show."""

from __future__ import annotations

from pathlib import Path

import pytest
from self_test import records, states, the_run, told, typed

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.self_test.checks import NAMES
from slurm.cluster import Cluster
from slurm.events import job_of
from slurm.job import until

pytestmark = pytest.mark.xdist_group("slurm self-test")
ON_TWO = ["nodes=2", "nproc=1", "cluster.partition=low", "data.workers=0"]
SOME = ["trained", "resumed_fp32", "exact", "stopped_step", "nodes", "across_fast", "across_exact"]
ENDED_WITHIN_S = 1500  # alone on two cores SOME take two minutes


def submitted(cluster: Cluster, here: Path, *words: str) -> Run:
    code, printed = typed("slurm", here, cluster.environment, *ON_TWO, *words)
    assert code == 0, printed
    run = the_run(here)
    assert f"job     {job_of(run)} (slurm)" in printed
    return run


def ends(run: Run) -> None:
    """Wait until its last attempt has."""
    try:
        until(lambda: _last_reason(run) in {"done", "error"}, ENDED_WITHIN_S)
    except AssertionError as error:
        error.add_note(told(run))
        raise


def _last_reason(run: Run) -> str | None:
    last = ledger.last(run)
    return last.reason if last else None


@pytest.mark.timeout(2 * ENDED_WITHIN_S)
def test_on_two_nodes_requeued_on_the_way_it_passes(cluster: Cluster, tmp_path: Path) -> None:
    run = submitted(cluster, tmp_path, f"self_test.only=[{','.join(SOME)}]")
    until(lambda: "trained" in records(run), ENDED_WITHIN_S)
    cluster.run("scontrol", "requeue", job_of(run))
    until(lambda: len(ledger.read(run)) == 2, ENDED_WITHIN_S)
    kept = records(run)["trained"]
    ends(run)
    assert states(run) == dict.fromkeys(SOME, "passed"), told(run)
    assert records(run)["trained"] == kept
    assert [attempt.reason for attempt in ledger.read(run)] == ["stopped", "done"]
    assert "on 1, 2 processes" in records(run)["exact"].figure
    code, printed = typed(
        "slurm", tmp_path, cluster.environment, *ON_TWO, f"self_test.only=[{','.join(SOME)}]"
    )
    assert code == 0
    assert "7 passed, 0 failed, 0 not here" in printed


@pytest.mark.timeout(2 * ENDED_WITHIN_S)
def test_faults_between_nodes_are_found(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing else is wrong: a check that fails hides no other."""
    wrong = "[across_fast,across_exact]"
    run = submitted(
        cluster, tmp_path, "self_test.only=[nodes,across_fast,across_exact]", f"self_test.faults={wrong}"
    )
    ends(run)
    assert states(run) == {"nodes": "passed", "across_fast": "failed", "across_exact": "failed"}, told(run)
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert last.end["detail"] == "2 of 3 checks failed: across_fast, across_exact"
    assert not run.result.exists()


@pytest.mark.soak
@pytest.mark.timeout(4 * ENDED_WITHIN_S)
def test_all_of_it_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    run = submitted(cluster, tmp_path)
    ends(run)
    assert states(run) == dict.fromkeys(NAMES, "passed"), told(run)
