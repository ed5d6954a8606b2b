"""Checkpoints as the paper's own code writes them."""

from __future__ import annotations

from pathlib import Path

import golden_weights as golden
import pytest
import torch
from torch import Tensor

FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


class AverageMeter:
    """As the paper's code pickles it."""

    def __init__(self) -> None:
        self.total, self.history = 3.5, [1, 2, {"a": (4,)}]


def state_of(name: str = "static_dnw") -> dict[str, Tensor]:
    return {f"module.{key}": tensor for key, tensor in golden.weights(golden.entries()[name]).items()}


def published(path: Path, is_zip: bool = True, **more: object) -> Path:
    """A checkpoint of the paper's code."""
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    content = {
        "model": state_of(),
        "optimizer": optimizer,
        "last_epoch": 159,
        "best_val": 80.9,
        "iter": 15_680,
    }
    torch.save(
        {**content, "meters": {"top1": AverageMeter()}, **more},
        path,
        _use_new_zipfile_serialization=is_zip,
    )
    return path
