"""Costs and pictures of a wiring, made in a thread beside the training."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from monitored import STEPS, evaluated
from run_folder import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnw import models
from dnw.config import load
from dnw.profile import profile
from dnw.runs import jsonl
from dnw.runs.claim import Claim, SupersededError
from dnw.training.checkpoint import Position
from dnw.training.monitor import Monitor
from dnw.training.monitoring import drawing
from dnw.training.monitoring.pictures import Pixels, panels
from dnw.wiring import Edges, edges_of


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is drawn before it is set."""
    opened = threading.Event()

    def wait_and_draw(wirings: Mapping[str, Edges]) -> dict[str, Pixels]:
        assert opened.wait(60)
        return panels(wirings)

    monkeypatch.setattr(drawing, "panels", wait_and_draw)
    return opened


def test_the_wiring_is_drawn_beside_the_training_and_before_a_checkpoint(
    tmp_path: Path, gate: threading.Event
) -> None:
    run = make(tmp_path)
    model = models.build(load(run.config))
    expected = profile(model, 32)
    with Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor:
        evaluated(monitor, model, 4)
        monitor.training(5, 1.25, loss=1.0, top1=1.0, rate=0.1, batch=32)
        for _, edges in edges_of(model).values():
            edges.mask.fill_(True)  # as the training goes on
        assert [line["kind"] for line in jsonl.read(run.metrics)] == ["val", "train"]
        threading.Timer(0.3, gate.set).start()
        monitor.flush()
        line = jsonl.read(run.metrics)[-1]
    assert (line["kind"], line["step"], line["swapped"]) == ("wiring", 4, 0.1)
    assert (line["macs"], line["params"]) == (expected.macs, expected.params)
    assert line["effective_macs"] == expected.effective_macs


def test_who_ends_waits_for_the_picture(tmp_path: Path, gate: threading.Event) -> None:
    run = make(tmp_path)
    with Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor:
        evaluated(monitor, models.build(load(run.config)), 4)
        threading.Timer(0.3, gate.set).start()
    board = EventAccumulator(str(run.tensorboard), size_guidance={"images": 0}).Reload()
    assert [picture.step for picture in board.Images("wiring/graph")] == [4]


@pytest.mark.parametrize("ask", ["step", "flush", "wiring", "leave"])
def test_what_goes_wrong_in_drawing_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    def fail(_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(drawing, "panels", fail)
    run = make(tmp_path)
    model = models.build(load(run.config))
    with (  # noqa: PT012
        pytest.raises(OSError, match="no space left"),
        Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor,
    ):
        evaluated(monitor, model, 4)
        deadline = time.monotonic() + 60
        while ask == "step" and time.monotonic() < deadline:
            monitor.step(5)
        if ask == "flush":
            monitor.flush()
        if ask == "wiring":
            evaluated(monitor, model, 8)


def test_an_attempt_that_was_passed_over_draws_nothing(tmp_path: Path, gate: threading.Event) -> None:
    run = make(tmp_path)
    with (  # noqa: PT012
        pytest.raises(SupersededError),
        Monitor(Claim.take_over(run), Position(), STEPS, load(run.config)) as monitor,
    ):
        evaluated(monitor, models.build(load(run.config)), 4)
        Claim.take_over(run)
        gate.set()
        monitor.flush()
    assert [line["kind"] for line in jsonl.read(run.metrics)] == ["val"]
