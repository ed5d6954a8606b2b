from __future__ import annotations

from pathlib import Path

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run


def test_pairs_starts_and_ends(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert ledger.next_attempt(run) == 1
    ledger.start(run, 1, step=0, world=2)
    assert ledger.last(run).reason is None
    ledger.end(run, 1, "stopped", step=40)
    ledger.start(run, 2, step=40, world=1)
    ledger.end(run, 2, "error", detail="the cause")
    ledger.end(run, 2, "error", detail="what followed from it on another rank")
    first, second = ledger.read(run)
    assert (first.number, first.start["world"], first.reason, first.end["step"]) == (1, 2, "stopped", 40)
    assert second.end["detail"] == "the cause"
    assert ledger.next_attempt(run) == 3


def test_what_the_launcher_saw_explains_what_workers_said(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ledger.end(run, 1, "error", detail="connection closed by peer")
    ledger.end(run, 1, "killed", detail="by SIGKILL", by="launcher")
    assert ledger.last(run).reason == "killed"


def test_line_cut_off_by_a_power_failure_is_none(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ledger.start(run, 1, step=0)
    with run.attempts.open("a") as file:
        file.write('{"attempt": 1, "event": "en')
    assert ledger.last(run).end is None
    ledger.start(run, 2, step=0)
    assert [attempt.number for attempt in ledger.read(run)] == [1, 2]


def test_line_cut_off_in_the_middle_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    jsonl.append(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"b": {"c": 2')
    jsonl.append(path, {"d": 3})
    assert jsonl.read(path) == [{"a": 1}, {"d": 3}]


def test_keep_forgets_what_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (2, 4, 6):
        jsonl.append(path, {"step": step})
    jsonl.keep(path, lambda record: record["step"] <= 4)
    assert jsonl.read(path) == [{"step": 2}, {"step": 4}]
