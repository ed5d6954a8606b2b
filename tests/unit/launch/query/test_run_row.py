"""Rows of runs, from ledgers made by hand and from what stand-ins for squeue and sacct say."""

import itertools
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from run_folder import Slurm, finish, log, make, note, slurm, submit

from dnw.config import ANEW
from dnw.runs.folder import Run
from dnw.runs.lock import Lock
from launch.query.run_row import Row
from launch.query.run_table import rows

NOW = time.time()
Told = Callable[[Run, Slurm], Any]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def row(run: Run) -> Row:
    ((found,), notes) = rows([run])
    assert notes == []
    return found


def queue(run: Run, state: str, reason: str, nodes: str = "", job: str = "7") -> str:
    return f"{job}|{state}|{reason}|{nodes}|low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n"


def account(state: str, code: str = "0:0") -> str:
    return f"7|{state}|{code}|{NOW:.0f}|{NOW:.0f}\n"


def test_never_begun(run: Run, cluster: Slurm) -> None:
    found = row(run)
    assert (found.state, found.job, found.attempts, found.step, found.total) == ("ready", None, 0, 0, 10)
    assert cluster.calls == []


@pytest.mark.parametrize("reason", ["Priority", "BeginTime", "Resources", "QOSMaxGRESPerUser"])
def test_waiting(run: Run, cluster: Slurm, reason: str) -> None:
    submit(run, "7", at=NOW - 60)
    cluster.says("squeue", queue(run, "PENDING", reason))
    found = row(run)
    assert (found.state, found.reason, found.job, found.nodes) == ("queued", reason, "7", "2")
    assert found.since == NOW - 60


@pytest.mark.parametrize(
    ("reason", "more"), [("launch failed requeued held", ": scontrol release 7"), ("JobHeldAdmin", "")]
)
def test_held_by_slurm(run: Run, cluster: Slurm, reason: str, more: str) -> None:
    """It never starts by itself."""
    submit(run, "7", at=NOW - 60)
    cluster.says("squeue", queue(run, "PENDING", reason))
    assert row(run).reason == reason + more


def test_running(run: Run, cluster: Slurm) -> None:
    submit(run, "7", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1", "n2"], pid=1)
    note(run, 1, "start", NOW - 40, step=0)
    for step, speed in ((2, 1.0), (4, 32.0), (6, 32.0)):
        log(run, step, images_per_second=speed, loss=1 / step, top1=10.0 * step)
    log(run, 4, "val", top1=33.0)
    cluster.says("squeue", queue(run, "RUNNING", "None", "n[1-2]"))
    found = row(run)
    assert (found.state, found.reason, found.nodes, found.attempts) == ("running", None, "n[1-2]", 1)
    assert (found.step, found.total, found.epoch) == (6, 10, 0.6)
    assert (found.loss, found.top1, found.val_top1) == (1 / 6, 60.0, 33.0)
    assert (found.images_per_second, found.left_s) == (32.0, (10 - 6) * 32 / 32.0)
    assert (found.ended, found.since) == (None, NOW - 50)


def test_a_slow_rank_is_told_while_it_runs(run: Run, cluster: Slurm) -> None:
    submit(run, "7", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1", "n2"], pid=1)
    note(run, 1, "start", NOW - 40, step=0)
    for rank, is_slow in ((1, True), (2, True), (2, False)):  # the second has recovered
        log(run, 60, "slow", attempt=1, rank=rank, place=f"n2, cuda:{rank}", is_slow=is_slow, ratio=2.1)
    cluster.says("squeue", queue(run, "RUNNING", "None", "n[1-2]"))
    told = f"{run.name}: slow, rank 1 (n2, cuda:1) takes 2.1 times the median, seen at step 60"
    assert [note for note in rows([run])[1] if "slow" in note] == [told]
    note(run, 1, "end", NOW - 20, reason="stopped", step=5)
    cluster.says("squeue", "")
    assert [note for note in rows([run])[1] if "slow" in note] == []


def test_waiting_to_go_on(run: Run, cluster: Slurm) -> None:
    submit(run, "7", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "end", NOW - 20, reason="stopped", step=5)
    note(run, 1, "end", NOW - 19, reason="stopped", by="launcher", cause="preempted")
    log(run, 4)
    cluster.says("squeue", queue(run, "PENDING", "BeginTime"))
    found = row(run)
    assert (found.state, found.ended, found.step, found.since) == ("queued", "preempted", 5, NOW - 20)
    assert (found.images_per_second, found.left_s) == (None, None)


@pytest.mark.parametrize(
    ("end", "sacct", "state", "ended"),
    [
        ({"reason": "stopped", "cause": "timeout"}, None, "stopped", "timeout"),
        ({"reason": "stopped"}, account("CANCELLED by 1000"), "stopped", "cancelled"),
        ({"reason": "stopped"}, "", "stopped", "stopped"),
        (
            {"reason": "killed", "detail": "by SIGKILL on n2\nmore"},
            None,
            "failed",
            "killed: by SIGKILL on n2",
        ),
        ({"reason": "error", "detail": "ValueError: x"}, None, "failed", "error: ValueError: x"),
        ({"reason": "hung", "detail": "no progress"}, None, "failed", "hung: no progress"),
        (None, account("NODE_FAIL"), "failed", "node failure"),
        (None, account("FAILED", "9:0"), "failed", "failed, exit code 9"),
        (None, account("FAILED", "0:11"), "failed", "failed, signal 11"),
        (None, account("OUT_OF_MEMORY", "0:125"), "failed", "out of memory"),
        (None, "", "failed", "no word of its end"),
    ],
    ids=itertools.count(),  # a time among the values would differ from process to process
)
def test_over_and_not_done(
    run: Run, cluster: Slurm, end: dict[str, str] | None, sacct: str | None, state: str, ended: str
) -> None:
    submit(run, "7", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    if end:
        note(run, 1, "end", NOW - 20, step=3, **end)
    cluster.says("squeue")
    if sacct is not None:  # else: it isn't asked, since the ledger knows
        cluster.says("sacct", sacct)
    found = row(run)
    assert (found.state, found.ended) == (state, ended)


@pytest.mark.parametrize(
    ("sacct", "state", "ended"),
    [
        (account("CANCELLED by 0"), "stopped", "cancelled"),
        (account("FAILED", "1:0"), "failed", "failed, exit code 1"),
        ("", "failed", "the job ended before an attempt started"),
    ],
    ids=itertools.count(),
)
def test_submitted_again_and_gone_without_an_attempt(
    run: Run, cluster: Slurm, sacct: str, state: str, ended: str
) -> None:
    note(run, 1, "claim", NOW - 500, job="6", restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "end", NOW - 400, reason="stopped", step=3, cause="cancelled")
    submit(run, "7", at=NOW - 60)
    cluster.says("squeue")
    cluster.says("sacct", sacct)
    found = row(run)
    assert (found.state, found.ended) == (state, ended)


def test_finished(run: Run, cluster: Slurm) -> None:
    submit(run, "7", at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "end", NOW - 5, reason="done", step=10)
    finish(run)
    found = row(run)
    assert (found.state, found.step, found.total, found.val_top1) == ("finished", 10, 10, 61.5)
    assert (found.ended, found.since) == ("done", NOW - 5)
    assert cluster.calls == []


def test_goodput(run: Run, cluster: Slurm) -> None:
    """Of a run that runs until now, of another as far as is known, of a finished one from its result."""
    began = time.time() - 100
    note(run, 1, "claim", began, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "start", began + 10, step=0)
    note(run, 1, "step", began + 20, step=1)
    log(run, 4, attempt=1, time=began + 40)
    found = row(run).goodput
    assert found is not None
    assert (found.share, found.restart_s) == (0.5, 20)
    submit(run, "7", at=began)
    cluster.says("squeue", queue(run, "RUNNING", "None", "n1"))
    found = row(run).goodput
    assert found is not None
    assert found.share == pytest.approx(0.8, abs=0.02)
    finish(run, goodput={**asdict(found), "share": 0.77})
    found = row(run).goodput
    assert found is not None
    assert found.share == 0.77


def test_on_this_machine_told_by_its_processes(run: Run, cluster: Slurm) -> None:
    one = submit(run, "1", "local", at=NOW - 60)
    assert row(run).state == "failed"
    with subprocess.Popen(["/bin/sh", "-c", "read -r _", one.folder], stdin=subprocess.PIPE) as other:
        pass_for: dict[str, Any] = {"at": NOW - 60, "cluster": "local"}
        submit(run, str(other.pid), **pass_for)
        assert row(run).state == "queued"
        note(run, 1, "claim", NOW - 50, job="1", restart=0, host="here", hosts=["here"], pid=1)
        with Lock.take(run.lock) as held:
            held.write(attempt=1, job="1", pid=1, host="here")
            found = row(run)
            assert (found.state, found.nodes) == ("running", "here")
        submit(run, str(other.pid), host="elsewhere", **pass_for)
        ((found,), (note_on_it,)) = rows([run])
        assert found.state == "running"  # as far as its files tell
        assert "is on elsewhere, not here" in note_on_it
        note(run, 1, "end", NOW - 20, reason="stopped", step=3)
        assert row(run).state == "stopped"
    assert cluster.calls == []


def test_one_squeue_and_one_sacct_for_any_number_of_runs(tmp_path: Path, cluster: Slurm) -> None:
    made = [make(tmp_path / "runs", f"default-{number:010}") for number in range(6)]
    for number, one in enumerate(made):
        submit(one, str(number), "local" if number == 5 else "slurm", at=NOW - 60)
    finish(made[0])
    cluster.says("squeue", queue(made[1], "RUNNING", "None", "n1", job="1"))
    cluster.says("sacct")
    assert [one.state for one in rows(made)[0]] == ["finished", "running", *["failed"] * 4]
    assert [call.split(" --format")[0] for call in cluster.calls] == [
        "squeue --noheader --array --jobs=1,2,3,4",
        "sacct --noheader --parsable2 --allocations --jobs=2,3,4 --endtime=now+7days",
    ]


def test_without_slurm_the_files_tell_what_they_can(tmp_path: Path, cluster: Slurm) -> None:
    made = [make(tmp_path / "runs", f"default-{number}") for number in range(3)]
    for number, one in enumerate(made):
        submit(one, str(number), at=NOW - 60)
    for one in made[1:]:
        note(one, 1, "claim", NOW - 50, job="1", restart=0, host="n1", hosts=["n1"], pid=1)
    note(made[2], 1, "end", NOW - 20, reason="stopped", step=3)
    found, notes = rows(made)
    assert [one.state for one in found] == ["queued", "running", "stopped"]
    assert [text.partition(";")[0] for text in notes] == ["squeue: not found here"]


def test_a_configuration_that_cannot_be_read_is_a_note(run: Run, cluster: Slurm) -> None:
    run.config.write_text("exp: [")
    ((found,), notes) = rows([run])
    assert (found.state, found.total) == ("unreadable", None)
    assert notes == [f"{run.name}: {run.config}: damaged (while parsing a flow node); {ANEW}"]


def test_epochs_are_counted_in_steps_by_the_shards(tmp_path: Path, pets_shards: Path, cluster: Slurm) -> None:
    changes: dict[str, Any] = {"steps": None, "epochs": 3, "batch": 4, "micro_batch": 4}
    run = make(tmp_path / "runs", data__dir=str(pets_shards), **changes)
    assert row(run).total == 9  # of 11 images
    away = make(tmp_path / "runs", "away", data__dir=str(tmp_path / "away"), **changes)
    ((found,), (said,)) = rows([away])
    assert found.total is None
    assert said.startswith(f"{away.name}: {tmp_path}/away: no such folder")
