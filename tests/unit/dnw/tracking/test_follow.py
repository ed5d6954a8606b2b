"""Following a run, whatever becomes of the tracker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from run_folder import log, make

from dnw.runs.folder import Run
from dnw.tracking import follow
from dnw.tracking.facts import Facts
from dnw.tracking.follow import HeldError, Sender
from dnw.tracking.pictures import Picture
from dnw.tracking.rows import Row
from dnw.tracking.tracker import TrackerError


class Tracker:
    """One that keeps rows, and fails when told to."""

    def __init__(self) -> None:
        self.there: list[tuple[str, int]] = []
        self.failures: list[str] = []
        self.ended = 0
        self.address, self.unsent = "here", ""

    def begin(self, facts: Facts) -> None:
        if self.failures:
            raise TrackerError(self.failures.pop(0))

    def send(self, facts: Facts, rows: Sequence[Row], pictures: Sequence[Picture] = ()) -> int:
        if self.failures:
            raise TrackerError(self.failures.pop(0))
        new = [(row.kind, row.step) for row in rows if (row.kind, row.step) not in self.there]
        self.there += new
        return len(new)

    def end(self, facts: Facts) -> None:
        self.ended += 1


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    made = Tracker()
    monkeypatch.setattr(follow, "make", lambda name: made)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path)


def test_failures_are_said_once_and_tried_again(
    run: Run, at: Tracker, capsys: pytest.CaptureFixture[str]
) -> None:
    at.failures = ["away", "away", "elsewhere"]
    pauses: list[float] = []

    def is_over(seconds: float) -> bool:
        pauses.append(seconds)
        log(run, len(pauses), time=time.time(), attempt=1)
        return len(pauses) == 6

    assert follow.follow(run, "mlflow", is_over, period_s=1) == 0
    assert pauses == [1, 2, 4, 8, 1, 1]
    assert at.there == [("train", step) for step in range(1, 7)]
    assert at.ended == 1
    said = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert said == ["away", "elsewhere", "sent again"]


def test_a_file_that_cannot_be_sent_costs_a_line_and_an_exit_code(
    run: Run, at: Tracker, capsys: pytest.CaptureFixture[str]
) -> None:
    at.unsent = "no bucket"
    looks = iter([False, False, True])
    assert follow.follow(run, "mlflow", lambda _: next(looks)) == 1
    assert capsys.readouterr().out.count("no bucket") == 1
    assert at.ended == 1


def test_a_folder_that_cannot_be_read_is_tried_again(
    run: Run, at: Tracker, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = run.config.read_bytes()
    run.config.unlink()

    def is_over(seconds: float) -> bool:
        if seconds > 1:
            run.config.write_bytes(configuration)
        return seconds > 1

    assert follow.follow(run, "mlflow", is_over, period_s=1) == 0
    assert "config.yaml: " in capsys.readouterr().out


def test_what_is_not_sent_at_the_end_is_an_exit_code(
    run: Run, at: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is busy then is asked again; one that was away before isn't waited for."""
    monkeypatch.setattr(follow, "LAST_S", (0.0, 0.0))
    at.failures = ["busy"] * 3
    assert follow.follow(run, "mlflow", lambda _: True) == 1
    at.failures = ["busy"] * 2
    assert follow.follow(run, "mlflow", lambda _: True) == 0
    at.failures = ["away"] * 2
    looks = iter([False, True])
    assert follow.follow(run, "mlflow", lambda _: next(looks)) == 1
    assert at.failures == []


def test_one_sender_at_a_time(run: Run, at: Tracker) -> None:
    first = Sender(run, "mlflow")
    with pytest.raises(HeldError, match="mlflow: another process, the run's own perhaps, sends example/"):
        Sender(run, "mlflow")
    Sender(run, "wandb").drop()
    first.drop()
    Sender(run, "mlflow").end()
