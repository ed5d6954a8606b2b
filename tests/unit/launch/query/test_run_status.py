"""How one run stands, by what is known of it; asked of Slurm, in a table: commands/test_status.py."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
from run_folder import make, note, slurm, submit

from dnw.runs import ledger
from dnw.runs.folder import Run
from dnw.runs.lock import Lock
from launch.cluster.slurm_queue import EndedJob
from launch.cluster.submission import newest
from launch.query.run_status import RunStatus, began_at, query_status


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PATH", "/nowhere")
    return make(tmp_path)


def seen(run: Run, **facts: Any) -> RunStatus:
    base: dict[str, Any] = {"result": None, "is_held": False, "has_controller": False}
    return RunStatus(
        **{"run": run, "attempts": tuple(ledger.read(run)), "submission": newest(run), **base, **facts}
    )


def test_prepared_and_never_submitted(run: Run) -> None:
    one = seen(run)
    assert (one.state, one.is_at_work, one.who, one.why, one.since) == ("ready", False, "", "", None)


def test_what_is_seen_counts_before_what_was_written(run: Run) -> None:
    note(run, 1, "claim", 5.0, job="7", restart=0, hosts=["n1"])
    note(run, 1, "end", 9.0, reason="error", detail="no room\nmore")
    assert (seen(run).state, seen(run).why) == ("failed", "error: no room")
    assert seen(run, is_held=True).state == "running"
    assert seen(run, has_controller=True).state == "queued"
    assert seen(run, result={"steps": 1}, is_held=True).state == "finished"
    assert seen(run, problems=("damaged",)).state == "unreadable"


def test_an_attempt_of_an_earlier_submission_is_not_this_ones(run: Run) -> None:
    note(run, 1, "claim", 100.0, job="7", restart=0, hosts=["n1"])
    note(run, 1, "end", 120.0, reason="stopped", cause="timeout")
    submit(run, "8", at=200.0)
    one = seen(run, account=EndedJob("8", "FAILED", "9:0", 190.0, 210.0))
    assert one.current is None
    assert (one.state, one.why, one.since) == ("failed", "failed, exit code 9", 210.0)
    cancelled = seen(run, account=EndedJob("8", "CANCELLED", "0:0", 190.0, 210.0))
    assert (cancelled.state, cancelled.why) == ("stopped", "cancelled")
    submit(run, "7", at=100.5)  # a second of skew between clocks
    assert seen(run).current is not None
    assert (seen(run).state, seen(run).why, seen(run).since) == ("stopped", "timeout", 120.0)


@pytest.mark.parametrize("skew_s", [-600.0, 600.0])
def test_clocks_that_differ_by_minutes(run: Run, skew_s: float) -> None:
    """Which attempts are a submission's is told by the ledger's order."""
    note(run, 1, "claim", 1000.0 + skew_s, job="7", restart=0, hosts=["n1"])
    note(run, 1, "end", 1100.0 + skew_s, reason="stopped", cause="timeout")
    submit(run, "8", at=1200.0, attempts=1)
    assert seen(run).current is None
    note(run, 2, "claim", 1210.0 + skew_s, job="8", restart=0, hosts=["n2"])
    note(run, 2, "end", 1220.0 + skew_s, reason="stopped", cause="cancelled")
    one = seen(run)
    assert one.current is not None
    assert (one.current.number, one.state, one.why) == (2, "stopped", "cancelled")


def test_out_of_sight_the_files_tell(run: Run) -> None:
    submit(run, "8", at=time.time() - 9, host="elsewhere", cluster="local")
    ((one,), notes) = query_status([run])
    assert (one.state, one.is_out_of_sight) == ("queued", True)
    assert notes == [f"{run.name}: is on elsewhere, not here; what it does is guessed from its files"]


def test_a_damaged_note_is_told_and_ends_nothing(run: Run) -> None:
    run.launch.write_text("{")
    ((one,), notes) = query_status([run])
    assert one.state == "unreadable"
    assert notes[0].startswith(f"{run.name}: {run.launch}: damaged")


def test_when_an_attempt_began(run: Run) -> None:
    note(run, 1, "start", 7.0, step=0)
    (attempt,) = ledger.read(run)
    assert began_at(attempt) == 7.0
    note(run, 1, "claim", 5.0, job="7", restart=0, hosts=["n1"])
    assert began_at(ledger.read(run)[0]) == 5.0


def test_a_run_that_its_job_works_on_no_more(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job, which works on another one, is at work for Slurm; by the mark this run is not."""
    stand_ins = slurm(tmp_path, monkeypatch)
    other = make(tmp_path, "other")
    pack = [str(run.folder), str(other.folder)]
    last = submit(run, "7", pack=pack)
    dataclasses.replace(last).write(other)
    stand_ins.says(
        "squeue", f"7|RUNNING|None|n1|low|{time.time():.0f}|{time.time():.0f}|{last.folder}/job.sh\n"
    )
    note(run, 1, "claim", time.time(), job="7", restart=0, hosts=["n1"])
    note(run, 1, "end", time.time(), reason="error", detail="it went wrong")
    states = lambda: [one.state for one in query_status([run, other])[0]]  # noqa: E731
    assert states() == ["running", "running"]  # it may be tried again
    assert last.sharing == [run, other]
    last.marks.end(run)
    assert states() == ["failed", "running"]
    assert last.sharing == [other]
    (one,), _ = query_status([run])
    assert (one.why, one.may_be_at_work) == ("error: it went wrong", False)
    last.marks.cancel(other)
    assert states() == ["failed", "stopped"]
    (one,), _ = query_status([other])
    assert one.why == "cancelled"
    with Lock.take(other.lock) as held:  # it is saving still
        held.write(attempt=1, job="7", pid=1, host="n1")
        assert states() == ["failed", "running"]
    again = submit(run, "8", pack=[])
    assert (again.marks.folder, newest(run)) != (last.marks.folder, last)
