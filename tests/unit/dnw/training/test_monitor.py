"""What a run shows, as TensorBoard's own reader finds it, over three attempts."""

from __future__ import annotations

import pytest
from monitored import STEPS, killed_twice
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnw.runs import jsonl
from dnw.runs.folder import Run

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


def test_goodput_is_drawn(shown: Shown) -> None:
    _, board = shown
    assert board.Scalars("goodput/steps_redone")[-1].value == 2 + 3
    assert 0 < board.Scalars("goodput/share")[-1].value < 1
    assert board.Scalars("goodput/restart_s")[-1].value >= 0


def test_metrics_tell_attempt_and_time(shown: Shown) -> None:
    run, _ = shown
    lines = jsonl.read(run.metrics)
    assert [(line["step"], line["attempt"]) for line in lines if line["kind"] == "train"] == [
        *((step, 1) for step in range(1, 5)),
        *((step, 3) for step in range(5, 9)),
    ]
    assert all(line["time"] > 1e9 for line in lines)
