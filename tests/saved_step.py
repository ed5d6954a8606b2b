"""A checkpoint that tells its step, of a run that was never trained."""

from __future__ import annotations

from pathlib import Path

import torch

from dnw import models
from dnw.config import load
from dnw.identity import signature
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint, Identity, Position
from shards.classes import Names


def save(run: Run, step: int, classes: Names = None) -> Path:
    """A checkpoint of `run` whose classifier's bias is its step."""
    train = load(run.config)
    model = models.build(train)
    torch.nn.init.constant_(model.get_parameter("fc.bias"), step)
    saved = Checkpoint(
        Identity(
            "example", signature(train), train.data.train_fingerprint, train.data.val_fingerprint, classes
        ),
        Position(step=step),
        model.state_dict(),
        {},
        torch.zeros(3),
        {},
    )
    path = step_path(run.checkpoints, step)
    checkpoint.write(path, checkpoint.encode(saved))
    return path
