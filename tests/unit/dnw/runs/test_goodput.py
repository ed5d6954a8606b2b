"""Goodput, of ledgers and logs made by hand."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from run_folder import make, note

from dnw.runs import goodput as module
from dnw.runs import jsonl
from dnw.runs.folder import Run
from dnw.runs.goodput import Goodput, goodput

BEGAN = 1_000_000.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def claim(
    run: Run, attempt: int, at: float, first: float | None = None, step: int = 0, **facts: object
) -> None:
    """An attempt that begins `at`, after `step`; its first step is done at `first`."""
    note(run, attempt, "claim", BEGAN + at, job="7", restart=0, hosts=["n1"])
    if first is not None:
        note(run, attempt, "start", BEGAN + first - 1, step=step, **facts)
        note(run, attempt, "step", BEGAN + first, step=step + 1)


def line(run: Run, attempt: int, at: float, step: int, kind: str = "train", **facts: object) -> None:
    of = {"attempt": attempt, "time": BEGAN + at}
    jsonl.append(run.metrics, {"step": step, "kind": kind, **facts, **of})


def adds_up(found: Goodput) -> bool:
    parts = found.productive_s + found.startup_s + found.stalled_s + found.lost_s
    return found.allocated_s == pytest.approx(parts, abs=0.01)


def test_a_run_that_has_not_begun(run: Run) -> None:
    assert goodput(run) == Goodput(None, 0, 0, 0, 0, 0, 0, None)


def test_one_attempt_that_is_left_alone(run: Run) -> None:
    claim(run, 1, at=0, first=10)
    line(run, 1, 50, 5)
    line(run, 1, 54, 5, "save", seconds=4.0)
    line(run, 1, 90, 10)
    line(run, 1, 96, 10, "save", seconds=6.0)
    note(run, 1, "end", BEGAN + 100, reason="done", step=10)
    assert goodput(run) == Goodput(0.76, 100, 76, 10, 10, 4, 0, 10)


def test_a_checkpoint_is_written_beside_the_steps(run: Run) -> None:
    """Copied at 50 s, which took 1 s, and on the disk at 59: killed at 80, the run goes on from 50."""
    claim(run, 1, at=0, first=10)
    line(run, 1, 59, 5, "save", seconds=10.0, stalled=1.0)
    note(run, 1, "end", BEGAN + 80, reason="killed", by="launcher")
    claim(run, 2, at=80, first=90, step=5)
    line(run, 2, 100, 6)
    note(run, 2, "end", BEGAN + 100, reason="done", step=6)
    assert goodput(run) == Goodput(0.49, 100, 39 + 10, 20, 1, 30, 0, 10)


def test_a_killed_attempt_did_some_steps_in_vain(run: Run) -> None:
    """It saved step 5 at 50 s and was killed at 80 s, at step 8; the queue took an hour."""
    claim(run, 1, at=0, first=10)
    line(run, 1, 49, 5)
    line(run, 1, 50, 5, "save", seconds=1.0)
    note(run, 1, "end", BEGAN + 80, reason="killed", step=8, by="launcher")
    claim(run, 2, at=3680, first=3700, step=5)
    line(run, 2, 3740, 10)
    note(run, 2, "end", BEGAN + 3740, reason="done", step=10)
    found = goodput(run)
    assert found == Goodput(round(79 / 140, 4), 140, 39 + 40, 10 + 20, 1, 30, 3, 15)
    assert adds_up(found)


def test_before_it_is_known_what_was_in_vain_all_counts(run: Run) -> None:
    claim(run, 1, at=0, first=10)
    line(run, 1, 50, 5)
    line(run, 1, 70, 7)
    note(run, 1, "end", BEGAN + 80, reason="killed", step=8)
    assert goodput(run).productive_s == 60


def test_an_attempt_under_way_lasts_until_now(run: Run) -> None:
    claim(run, 1, at=0, first=10)
    line(run, 1, 50, 5)
    assert goodput(run, BEGAN + 100) == Goodput(0.9, 100, 90, 10, 0, 0, 0, 10)
    assert goodput(run) == Goodput(0.8, 50, 40, 10, 0, 0, 0, 10)  # its last sign of life
    note(run, 1, "end", BEGAN + 60, reason="stopped", step=5)
    assert goodput(run, BEGAN + 100).allocated_s == 60


def test_an_attempt_that_did_no_step_only_started_up(run: Run) -> None:
    claim(run, 1, at=0)
    assert goodput(run, BEGAN + 5) == Goodput(0.0, 5, 0, 5, 0, 0, 0, None)


def test_a_lost_attempt_ended_with_its_last_sign_of_life(run: Run) -> None:
    """Its end was noted an hour later, when the next one began and cut back what it had logged."""
    claim(run, 1, at=0, first=10)
    line(run, 1, 50, 5, "save", seconds=2.0)
    line(run, 1, 70, 7)
    logged = module.last_logged(run)
    assert logged == {"attempt": 1, "step": 7, "time": BEGAN + 70}
    jsonl.keep(run.metrics, lambda record: record["step"] <= 5)
    note(run, 1, "end", BEGAN + 3600, reason="lost", by="launcher")
    claim(run, 2, at=3600)  # which doesn't get as far as starting
    note(run, 2, "end", BEGAN + 3605, reason="error", detail="no such file")
    claim(run, 3, at=3700, first=3710, step=5, found=logged)
    found = goodput(run, BEGAN + 3720)
    assert found == Goodput(round(48 / 95, 4), 70 + 5 + 20, 38 + 10, 10 + 5 + 10, 2, 20, 2, 10)
    assert adds_up(found)


def test_steps_of_two_attempts_are_redone_where_a_checkpoint_was_damaged(run: Run) -> None:
    for attempt, step, reached in ((1, 0, 20), (2, 10, 25), (3, 5, 30)):
        claim(run, attempt, at=100 * attempt, first=100 * attempt + 1, step=step)
        note(run, attempt, "end", BEGAN + 100 * attempt + 50, reason="error", step=reached)
    assert goodput(run).steps_redone == 10 + 20


def test_a_save_within_the_start_up_is_counted_once(run: Run) -> None:
    """An evaluation that a stop had cut off is repeated and saved before the first step."""
    claim(run, 1, at=0, first=30)
    line(run, 1, 20, 4, "save", seconds=5.0)
    line(run, 1, 60, 5)
    found = goodput(run)
    assert (found.startup_s, found.stalled_s, found.productive_s) == (30, 0, 30)
    assert adds_up(found)


def test_what_the_workers_of_other_ranks_say_ends_nothing_early(run: Run) -> None:
    """One notes an error while the first rank still logs."""
    claim(run, 1, at=0, first=10)
    note(run, 1, "end", BEGAN + 20, reason="error", step=2)
    line(run, 1, 25, 3)
    assert goodput(run).allocated_s == 25


def test_lines_of_none_of_the_attempts_are_left_out(run: Run) -> None:
    claim(run, 1, at=0, first=10)
    jsonl.append(run.metrics, {"step": 5, "kind": "train"})
    line(run, 9, 500, 9)
    assert goodput(run).productive_s == 0


def test_what_another_version_published_is_not_known() -> None:
    ours = dataclasses.asdict(Goodput(0.5, 10, 5, 5, 0, 0, 0, None))
    assert module.published({"goodput": ours}) == Goodput(**ours)
    assert module.published({"goodput": {**ours, "more": 1}}) is None
    assert module.published({}) is None


def test_a_long_log_is_read_quickly(run: Run) -> None:
    """As status does for every run."""
    claim(run, 1, at=0, first=10)
    values = {"loss": 1.234567, "top1": 45.678, "lr": 0.0123, "images_per_second": 1234.5, "epoch": 1.25}
    text = '{{"step": {0}, "kind": "train", {1}, "attempt": 1, "time": {2}}}\n'
    inner = ", ".join(f'"{key}": {value}' for key, value in values.items())
    run.metrics.write_text("".join(text.format(50 * n, inner, BEGAN + 10 * n) for n in range(1, 10_001)))
    began = time.process_time()
    found = goodput(run)
    assert time.process_time() - began < 1.0
    assert dataclasses.asdict(found)["productive_s"] == 10 * 10_000 - 10
