"""What one start of a pack's job does, with real processes that do little; tests/slurm has real runs."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_folder import make
from workers.packed_job import PackedJob

from dnw.preemption import STOPPED
from dnw.runs import ledger
from dnw.runs.divergence import DIVERGED
from dnw.runs.folder import Run
from launch.node import slurm_job, unfit
from launch.node.signals import StopRequests
from launch.node.topology import LOOPBACK, Node
from launch.pack import pack
from launch.pack.marks import Marks
from launch.pack.pack import Work

ROOT = Path(__file__).resolve().parents[4]
NODE = Node(0, 1, LOOPBACK, "7_0", 0, ("n1",), in_slurm=True)


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that Slurm was asked to start again."""
    given: list[str] = []
    monkeypatch.setattr(slurm_job, "requeue", given.append)
    monkeypatch.setattr(slurm_job, "can_requeue", lambda: True)
    monkeypatch.setattr(pack, "POLL_S", 0.05)
    monkeypatch.setattr(pack, "LOOK_S", 0.05)
    monkeypatch.setattr("launch.pack.marks.AGAIN_S", 0.05)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/first/code.zip", str(ROOT), str(ROOT / "tests")]))
    return given


def work(here: Path, *acts: str, cause: str = "preempted", is_requeued: bool = True) -> Work:
    """A start of a job whose runs do this."""
    runs = [here / "runs" / "example" / f"{act}-{place}" for place, act in enumerate(acts)]
    for run in runs:
        if not run.exists():
            make(here / "runs", run.name)
    jobs: Any = [PackedJob(run, act, cause) for run, act in zip(runs, acts, strict=True)]
    return Work(jobs, is_requeued, Marks(here), NODE, StopRequests(impatient=False))


def meanwhile(
    start: Work, act: Callable[[], None], *begun: Run, over: Sequence[Run] = ()
) -> threading.Thread:
    """Do something once these runs have begun, and the job has marked those."""

    def is_time() -> bool:
        return all(ledger.last(run) for run in begun) and all(start.marks.of(run) == "ended" for run in over)

    def wait() -> None:
        deadline = time.monotonic() + 30
        while not is_time() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def runs_of(work: Work) -> list[Run]:
    return [Run(job.folder) for job in work.jobs]


def stop(work: Work, number: signal.Signals = signal.SIGTERM) -> None:
    work.stop.signal = number


def test_all_are_done(tmp_path: Path, orders: list[str]) -> None:
    """Each by its own code, and what else is searched."""
    start = work(tmp_path, "done", "done")
    assert start.run() == 0
    for run in runs_of(start):
        (attempt,) = ledger.read(run)
        assert attempt.claim is not None
        assert attempt.claim["path"] == os.pathsep.join(map(str, (run.code, ROOT, ROOT / "tests")))
        assert start.marks.of(run) == "ended"
    assert orders == []
    assert work(tmp_path, "done", "done").run() == 0
    assert len(ledger.read(runs_of(start)[0])) == 1


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path, orders: list[str]) -> None:
    start = work(tmp_path, "fail", "diverge", "vanish", "absent", "wait")
    *lost, waits = runs_of(start)
    thread = meanwhile(start, lambda: stop(start), waits, over=lost)
    assert start.run() == STOPPED
    thread.join()
    assert [start.marks.of(run) for run in (*lost, waits)] == ["ended"] * 4 + [""]
    assert orders == ["7_0"]
    assert "exit code 1; " in unfit.last_words(lost[3])
    assert (ledger.read(lost[3]), [len(ledger.read(run)) for run in lost[:3]]) == ([], [1, 1, 1])

    again = work(tmp_path, "fail", "diverge", "vanish", "absent", "wait")
    thread = meanwhile(again, lambda: stop(again, signal.SIGUSR2), waits)
    again.run()
    thread.join()
    assert [len(ledger.read(run)) for run in (*lost, waits)] == [1, 1, 1, 0, 2]


@pytest.mark.parametrize(
    ("cause", "is_requeued", "asked", "mark"),
    [
        ("preempted", True, ["7_0"], ""),
        ("cancelled", True, [], ""),  # with the job
        ("requeued", True, [], ""),  # by Slurm
        ("preempted", False, [], ""),
    ],
)
def test_a_stop_saves_all_and_asks_once(
    tmp_path: Path, orders: list[str], cause: str, is_requeued: bool, asked: list[str], mark: str
) -> None:
    start = work(tmp_path, "wait", "wait", "done", cause=cause, is_requeued=is_requeued)
    *waiting, done = runs_of(start)
    thread = meanwhile(start, lambda: stop(start, signal.SIGUSR2), *waiting, over=[done])
    assert start.run() == STOPPED
    thread.join()
    for run in waiting:
        (attempt,) = ledger.read(run)
        assert attempt.end is not None
        assert (attempt.reason, attempt.end["signal"]) == ("stopped", signal.SIGUSR2)
    assert [start.marks.of(run) for run in (*waiting, done)] == [mark, mark, "ended"]
    assert orders == asked


def test_one_is_cancelled_alone(tmp_path: Path, orders: list[str]) -> None:
    """Slurm knows of nothing: the ledger has it as cancelled all the same, and the job ends."""
    start = work(tmp_path, "wait", "wait", "done", cause="signalled")
    first, second, done = runs_of(start)

    def cancel() -> None:
        for run in (first, second):
            start.marks.cancel(run)

    thread = meanwhile(start, cancel, first, second, over=[done])
    assert start.run() == 0
    thread.join()
    assert [(one.reason, one.cause) for run in (first, second) for one in ledger.read(run)] == [
        ("stopped", "cancelled")
    ] * 2
    assert orders == []


def test_one_that_stops_without_being_asked_goes_on_with_the_next_start(
    tmp_path: Path, orders: list[str]
) -> None:
    """Somebody has sent a TERM to it alone: it would be requeued if it had a job of its own."""
    start = work(tmp_path, "wait", "diverge", cause="signalled")
    waits, _ = runs_of(start)

    def kill() -> None:
        last = ledger.last(waits)
        assert last is not None
        assert last.claim is not None
        os.kill(last.claim["pid"], signal.SIGTERM)

    thread = meanwhile(start, kill, waits)
    assert start.run() == STOPPED
    thread.join()
    assert orders == ["7_0"]
    assert start.marks.of(waits) == ""


def test_what_the_job_ends_with(tmp_path: Path, orders: list[str]) -> None:
    assert work(tmp_path, "done", "diverge").run() == DIVERGED
    assert work(tmp_path / "other", "done", "diverge", "fail").run() == 1


def test_a_folder_that_cannot_be_read_for_a_moment(
    tmp_path: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stale handle of NFS, say: the runs go on, and a request to cancel one is seen later."""
    start = work(tmp_path, "wait", cause="signalled")
    (waits,) = runs_of(start)
    seen, failures = Marks.cancelled, [OSError(errno.ESTALE, "Stale file handle", "here")] * 2

    def cancelled(self: Marks, runs: Sequence[Run]) -> set[Run]:
        if ledger.last(waits) and failures:
            raise failures.pop()
        return seen(self, runs)

    monkeypatch.setattr(Marks, "cancelled", cancelled)
    thread = meanwhile(start, lambda: start.marks.cancel(waits), waits)
    assert start.run() == 0
    thread.join()
    assert [(one.reason, one.cause) for one in ledger.read(waits)] == [("stopped", "cancelled")]
    assert capfd.readouterr().err.count("Stale file handle") == 1


@pytest.mark.parametrize("call", ["unmarked", "end"])
def test_marks_that_fail_for_a_moment_end_no_job(
    tmp_path: Path,
    orders: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    call: str,
) -> None:
    """As it begins, as a run ends, and as it asks to be started again."""
    start = work(tmp_path, "finish")
    real: Any = getattr(Marks, call)
    failures = [OSError(errno.ESTALE, "Stale file handle", "here")] * 2

    def fails_first(*words: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*words)

    monkeypatch.setattr(Marks, call, fails_first)
    assert start.run() == 0
    assert not failures
    assert [start.marks.of(run) for run in runs_of(start)] == ["ended"]
    assert capfd.readouterr().err.count("Stale file handle") == 1


def test_all_are_stopped_where_the_job_can_not_go_on(
    tmp_path: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = work(tmp_path, "wait")
    (waits,) = runs_of(start)

    def fail(_runs: object) -> None:
        if ledger.last(waits):
            raise OSError("the file server is gone")

    monkeypatch.setattr(Marks, "cancelled", lambda _self, runs: fail(runs) or set())
    monkeypatch.setattr(pack, "UNREAD_S", 0.1)
    with pytest.raises(OSError, match="file server"):
        start.run()
    (attempt,) = ledger.read(waits)
    assert attempt.reason == "stopped"
