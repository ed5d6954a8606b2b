"""The self-test on a cluster: two nodes, requeued amid its checks, and faults that only two nodes show."""

from __future__ import annotations

from pathlib import Path

import pytest
from self_test import records, states, the_run, told, typed, unexplained

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.self_test.checks import NAMES
from slurm.cluster import Cluster
from slurm.events import job_of
from slurm.job import until

pytestmark = pytest.mark.xdist_group("slurm self-test")
ON_TWO = ["nodes=2", "nproc=1", "cluster.partition=low", "cluster.gpus_per_node=0", "data.workers=0"]
SOME = ["trained", "nodes", "across_fast", "across_exact"]
ENDED_WITHIN_S = 1500  # alone on two cores SOME take a minute


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
def test_on_two_nodes_requeued_on_the_way_it_finds_what_is_wrong(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing else is: a check that fails hides no other."""
    run = submitted(cluster, tmp_path, f"self_test.only=[{','.join(SOME)}]", "self_test.faults=[across_fast]")
    until(lambda: "trained" in records(run), ENDED_WITHIN_S)
    cluster.run("scontrol", "requeue", job_of(run))
    until(lambda: len(ledger.read(run)) == 2, ENDED_WITHIN_S)
    kept = records(run)["trained"]
    ends(run)
    assert states(run) == {**dict.fromkeys(SOME, "passed"), "across_fast": "failed"}, told(run)
    assert records(run)["trained"] == kept
    assert [attempt.reason for attempt in ledger.read(run)] == ["stopped", "error"]
    assert unexplained(run) == {}
    assert ledger.last(run).end["detail"] == "1 of 4 checks failed: across_fast"
    assert not run.result.exists()


@pytest.mark.soak
@pytest.mark.timeout(4 * ENDED_WITHIN_S)
def test_all_of_it_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    run = submitted(cluster, tmp_path)
    ends(run)
    assert states(run) == dict.fromkeys(NAMES, "passed"), told(run)
    code, printed = typed("slurm", tmp_path, cluster.environment, *ON_TWO)
    assert code == 0
    assert "20 passed, 0 failed, 0 not here" in printed


@pytest.mark.soak
@pytest.mark.timeout(4 * ENDED_WITHIN_S)
def test_the_fault_of_every_check_is_found_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    run = submitted(cluster, tmp_path, f"self_test.faults=[{','.join(NAMES)}]", "cluster.grace_s=4")
    ends(run)
    assert states(run) == dict.fromkeys(NAMES, "failed"), told(run)
    assert unexplained(run) == {}
