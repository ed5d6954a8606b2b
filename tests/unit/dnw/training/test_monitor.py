"""What a run shows, as TensorBoard's own reader finds it, over three attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
from monitored import STEPS, killed_twice
from run_folder import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnw.config import load
from dnw.hardware.stragglers import Change
from dnw.runs import jsonl
from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from dnw.training.checkpoint import Position
from dnw.training.monitor import Monitor
from shards.index import Index

Shown = tuple[Run, EventAccumulator]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A run killed after step 6 and, gone on with from 4 without an evaluation, after 7."""
    run = killed_twice(tmp_path_factory.mktemp("monitor") / "runs")
    board = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "tensors": 0})
    return run, board.Reload()


def test_curves_do_not_overlap(shown: Shown) -> None:
    _, board = shown
    loss = board.Scalars("train/loss")
    assert [event.step for event in loss] == list(range(1, STEPS + 1))
    assert [event.value for event in loss] == [11, 12, 13, 14, 35, 36, 37, 38]
    for tag in ("val/top1", "wiring/macs", "wiring/effective_macs", "goodput/share", "goodput/steps_redone"):
        assert [event.step for event in board.Scalars(tag)] == [4, 8], tag


def test_what_is_over_is_shown_again(tmp_path: Path, pets_shards: Path) -> None:
    """TensorBoard hides the whole step that an attempt goes on from, as its evaluation comes again."""
    run = make(tmp_path)
    for position in (Position(), Position(step=4), Position(step=4, evaluated=4)):
        with Monitor(Claim.take_over(run), position, STEPS, load(run.config)) as monitor:
            if not position.step:
                monitor.training(4, 1.0, loss=1.0, top1=1.0, rate=0.1, batch=32)
                monitor.slow(4, Change(1, True, 2.5), "n1")
                monitor.replaced(4, [0, 2], Index.load(pets_shards, "train"))
                monitor.saved(4, 0.25, 0.125, 1000, 600.0)
        board = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0}).Reload()
        shown = {
            tag: [(event.step, event.value) for event in board.Scalars(tag)]
            for tag in board.Tags()["scalars"]
        }
        for tag, value in (
            ("train/loss", 1.0),
            ("slow/rank 1, n1", 2.5),
            ("train/unreadable", 2),
            ("save/seconds", 0.25),
            ("save/stalled", 0.125),
            ("save/bytes", 1000),
            ("save/interval", 600),
        ):
            assert shown[tag] == [(4, value)], tag


def test_goodput_is_drawn(shown: Shown) -> None:
    _, board = shown
    assert board.Scalars("goodput/steps_redone")[-1].value == 2 + 3
    assert 0 < board.Scalars("goodput/share")[-1].value < 1
    assert board.Scalars("goodput/restart_s")[-1].value == 2  # the second attempt evaluates first


def test_metrics_tell_attempt_and_time(shown: Shown) -> None:
    run, _ = shown
    lines = jsonl.read(run.metrics)
    assert [(line["step"], line["attempt"]) for line in lines if line["kind"] == "train"] == [
        *((step, 1) for step in range(1, 5)),
        *((step, 3) for step in range(5, 9)),
    ]
    assert all(line["time"] > 1e9 for line in lines)
