"""A trained network from a run folder or a checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from run_folder import make

from dnw import models
from dnw.config import load, signature
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, DamagedError, Identity, Position
from dnw.training.checkpointed_model import load_checkpointed_model


def save(run: Run, step: int) -> Path:
    """A checkpoint of `run` whose classifier's bias is its step."""
    model = models.build(load(run.config))
    torch.nn.init.constant_(model.fc.bias, step)  # type: ignore[arg-type]
    saved = Checkpoint(
        Identity("example", signature(load(run.config)), "", ""),
        Position(step=step),
        model.state_dict(),
        {},
        torch.zeros(3),
        {},
    )
    path = step_path(run.checkpoints, step)
    checkpoint.write(path, checkpoint.encode(saved))
    return path


@pytest.fixture
def run(tmp_path: Path, few_images: Path) -> Run:
    run = make(tmp_path, data__dir=str(few_images))
    for step in (1, 2, 3):
        save(run, step)
    return run


def test_damaged_checkpoints_are_passed_over(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    newest = step_path(run.checkpoints, 3)
    newest.write_bytes(newest.read_bytes()[:-100])
    before = sorted(run.checkpoints.iterdir())
    with caplog.at_level(logging.WARNING):
        _, model, step = load_checkpointed_model(run.folder)
    assert step == 2
    assert model.fc.bias.tolist() == [2.0] * 10
    assert f"{newest}: damaged" in caplog.text
    assert "taking the one before" in caplog.text
    assert sorted(run.checkpoints.iterdir()) == before
    with pytest.raises(DamagedError, match="damaged, its content is not what"):
        load_checkpointed_model(newest)
