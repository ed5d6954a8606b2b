"""Nodes that don't know one another by name, and nodes on which something is missing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker import assert_same_weights

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.scheduler.host_list import expand
from slurm.cluster import Cluster
from slurm.configuration import Settings
from slurm.events import ROOT, all_logs, finishes, is_training, job_of, the_run, time_out, typed
from slurm.job import fields, state, until

pytestmark = pytest.mark.xdist_group("slurm events")


@pytest.fixture(scope="module")
def apart(slurm_here: None) -> Iterator[Cluster]:
    """Each node's own name is 127.0.1.1 there, and unknown on the others."""
    with Cluster(Settings(speed=10, local_names=True)) as raised:
        yield raised


def test_names_of_nodes_are_read_as_slurm_writes_them(cluster: Cluster) -> None:
    for listed in ("n[01-03,7],gpu-a[1-2]b[3,4]", "n[9-11]", "n[08-10,001],login"):
        assert expand(listed) == tuple(cluster.run("scontrol", "show", "hostnames", listed).split())


def test_nodes_that_know_no_name_of_another(
    apart: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    typed(apart, few_images, tmp_path)
    run = the_run(tmp_path)
    finishes(run)
    (attempt,) = ledger.read(run)
    assert attempt.claim is not None
    assert len(attempt.claim["hosts"]) == 2
    assert_same_weights(run, undisturbed)


@pytest.mark.parametrize("place", [0, 1], ids=["the first node", "another node"])
def test_a_node_without_the_environment_is_named_and_left(
    apart: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run, place: int
) -> None:
    """It isn't mounted there."""
    bad = apart.settings.names[place]  # Slurm gives the first ones that are idle
    apart.wait_idle()
    apart.machines[bad].run(f"mount -t tmpfs none {sys.prefix}")
    try:
        typed(apart, few_images, tmp_path)
        run = the_run(tmp_path)
        finishes(run)
    finally:
        apart.machines[bad].run(f"umount {sys.prefix}")
    *failed, last = ledger.read(run)
    ends = [attempt.end or {} for attempt in failed]
    assert [(end["reason"], end["node"]) for end in ends] == [("unfit", bad), ("unfit", bad)], all_logs(run)
    assert f"{sys.executable}: not there, or not executable" in ends[0]["detail"]
    assert last.claim is not None
    assert bad not in last.claim["hosts"]
    assert fields(apart, job_of(run))["ExcNodeList"] == bad
    assert_same_weights(run, undisturbed)
    apart.wait_idle()


def test_a_job_that_is_not_to_be_requeued_ends_where_its_first_node_has_no_environment(
    apart: Cluster, few_images: Path, tmp_path: Path
) -> None:
    """Slurm refuses to start it again, so nothing is left to wait for; status says why."""
    bad = apart.settings.names[0]
    apart.wait_idle()
    apart.machines[bad].run(f"mount -t tmpfs none {sys.prefix}")
    try:
        typed(apart, few_images, tmp_path, "cluster.requeue=false")
        run = the_run(tmp_path)
        until(lambda: state(apart, job_of(run)) == "FAILED", timeout_s=120)
    finally:
        apart.machines[bad].run(f"umount {sys.prefix}")
    assert fields(apart, job_of(run))["Restarts"] == "0"
    assert ledger.read(run) == []
    status = subprocess.run(
        [sys.executable, str(ROOT / "launch" / "runs.py"), "status", "--json"],
        cwd=tmp_path, env=apart.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (row,) = json.loads(status.stdout)
    assert (row["state"], bad in str(row)) == ("failed", True)
    assert f"{sys.executable}: not there, or not executable" in str(row)
    apart.wait_idle()


def test_a_node_that_can_not_reach_the_first_one_is_left(
    apart: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    """By a rule of its own network, for the ports at which nodes meet."""
    bad = apart.settings.names[1]
    apart.wait_idle()
    rule = "rule {} unreachable ipproto tcp dport 10000-30000"
    try:
        apart.machines[bad].run(f"ip {rule.format('add')}")
    except RuntimeError as error:
        pytest.skip(f"rules by port: {error}")
    try:
        typed(apart, few_images, tmp_path)
        run = the_run(tmp_path)
        finishes(run)
    finally:
        apart.machines[bad].run(f"ip {rule.format('del')}")
    *failed, last = ledger.read(run)
    ends = [attempt.end or {} for attempt in failed]
    told = [(end["reason"], end["node"], end["peer"]) for end in ends]
    assert told == [("unfit", bad, "n1")] * 2, all_logs(run)
    assert last.claim is not None
    assert bad not in last.claim["hosts"]
    assert_same_weights(run, undisturbed)


def without_scontrol(folder: Path) -> str:
    """A setting by which PATH leads jobs to all that the system has, but for scontrol."""
    folder.mkdir()
    for place in ("/usr/bin", "/usr/sbin"):
        for program in Path(place).iterdir():
            if program.name != "scontrol" and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return f'cluster.setup=["export PATH={folder}"]'


@pytest.mark.timeout(450)
def test_without_scontrol_it_goes_on_at_its_time_limit(
    apart: Cluster, few_images: Path, tmp_path: Path, undisturbed: Run
) -> None:
    """On two nodes, by a job that follows."""
    apart.wait_idle()
    limit = ["cluster.signal_delay_s=100", "cluster.grace_s=60"]
    path = without_scontrol(tmp_path / "tools")
    typed(apart, few_images, tmp_path, "steps=1000", *limit, path)
    run = the_run(tmp_path)
    first = job_of(run)
    until(lambda: is_training(run), timeout_s=180)
    time_out(apart, run)
    until(lambda: len(ledger.read(run)) > 1, timeout_s=150)
    began, second = ledger.read(run)[:2]
    assert (began.reason, began.cause) == ("stopped", "timeout"), all_logs(run)
    assert second.job is not None
    assert second.job != first
    assert second.job == job_of(run)
    assert second.claim is not None
    assert len(second.claim["hosts"]) == 2
    until(lambda: ledger.read(run)[1].first_step is not None, timeout_s=180)
    assert ledger.read(run)[1].first_step == began.last_step
    apart.run("scancel", "--name=dnw-demo_dnw")
    apart.wait_idle()
