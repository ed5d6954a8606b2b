"""The asynchronous checkpoint writer."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from run_folder import make

from dnw.config import load
from dnw.runs import jsonl
from dnw.runs.claim import Claim, SupersededError
from dnw.runs.folder import Run, step_path, steps
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, CheckpointError, Identity, Position
from dnw.training.checkpoint_interval import Interval
from dnw.training.checkpoint_writer import CheckpointWriter
from dnw.training.monitor import Monitor

IDENTITY = Identity("example", "0", "1", "2")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


@contextlib.contextmanager
def opened(run: Run) -> Iterator[CheckpointWriter]:
    train, claim = load(run.config), Claim.take_over(run)
    with Monitor(claim, Position(), 100, train) as monitor:
        yield CheckpointWriter(claim, monitor, Interval(train.checkpoint, run), 2, threading.Lock())


@pytest.fixture
def writer(run: Run) -> Iterator[CheckpointWriter]:
    with opened(run) as one:
        yield one


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing reaches the disk before it is set."""
    opened = threading.Event()
    write: Callable[..., None] = checkpoint.write

    def wait_and_write(*arguments: object) -> None:
        assert opened.wait(60)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write", wait_and_write)
    return opened


def at(step: int) -> Checkpoint:
    state = {"weight": torch.full((2, 3), float(step))}
    return Checkpoint(IDENTITY, Position(step=step), state, {}, torch.zeros(3), {})


def test_training_goes_on_while_it_writes(run: Run, writer: CheckpointWriter, gate: threading.Event) -> None:
    writer.begin(at(4), time.monotonic() - 0.5)
    writer.look()
    assert steps(run.checkpoints) == []
    time.sleep(0.2)
    gate.set()
    writer.wait()
    found = checkpoint.read(step_path(run.checkpoints, 4))
    assert torch.equal(found.model["weight"], at(4).model["weight"])
    (line,) = jsonl.read(run.metrics)
    assert 0.5 <= line["stalled"] < line["seconds"] - 0.15
    assert line["seconds"] == pytest.approx(writer.seconds, abs=1e-3)
    assert (line["kind"], line["step"], line["interval"]) == ("save", 4, 600.0)


def test_the_best_is_kept_and_the_old_ones_go(run: Run, writer: CheckpointWriter) -> None:
    with writer:
        for step in (2, 4, 6):
            writer.wait()
            writer.begin(at(step), time.monotonic(), best=step == 4)
    assert steps(run.checkpoints) == [4, 6]
    assert checkpoint.read(run.checkpoints / "best.pt").position.step == 4


def test_who_leaves_waits(run: Run, writer: CheckpointWriter, gate: threading.Event) -> None:
    with writer:
        writer.begin(at(8), time.monotonic())
        threading.Timer(0.3, gate.set).start()
    assert steps(run.checkpoints) == [8]


@pytest.mark.parametrize("ask", [CheckpointWriter.wait, CheckpointWriter.look])
def test_what_went_wrong_is_told_once(small_disk: Path, ask: Callable[[CheckpointWriter], None]) -> None:
    """On a real file system of 1 MiB."""
    run = make(small_disk / "runs")
    large = dataclasses.replace(at(4), model={"weight": torch.zeros(2**20)})
    with opened(run) as writer:
        began = time.monotonic()
        writer.begin(large, began)
        with pytest.raises(CheckpointError, match="not saved, no space left"):  # noqa: PT012
            while time.monotonic() < began + 60:
                ask(writer)
        writer.wait()
    assert steps(run.checkpoints) == []
    assert "save" not in [line["kind"] for line in jsonl.read(run.metrics)]


def test_an_attempt_that_was_passed_over_writes_nothing(run: Run, writer: CheckpointWriter) -> None:
    Claim.take_over(run)
    writer.begin(at(4), time.monotonic())
    with pytest.raises(SupersededError):
        writer.wait()
    assert steps(run.checkpoints) == []
