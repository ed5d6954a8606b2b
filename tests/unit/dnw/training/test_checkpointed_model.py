"""A trained network from a run folder or a checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from run_folder import make
from saved_step import save

from dnw.runs.folder import Run, step_path
from dnw.training.checkpoint import DamagedError
from dnw.training.checkpointed_model import load_checkpointed_model


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
        _, model, step, *_ = load_checkpointed_model(run.folder)
    assert step == 2
    assert model.fc.bias.tolist() == [2.0] * 10
    assert f"{newest}: damaged" in caplog.text
    assert "taking the one before" in caplog.text
    assert sorted(run.checkpoints.iterdir()) == before
    with pytest.raises(DamagedError, match="damaged, its content is not what"):
        load_checkpointed_model(newest)
