"""Gradients and statistics of all micro-batches of a step, added up in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from example import train
from training_steps import steps

from dnw.training.checkpoint import Identity
from shards.index import Index

IDENTITY = Identity("example", "0", "1", "2")


@pytest.fixture
def split(few_images: Path) -> Index:
    return Index.load(few_images, "train")


@pytest.mark.parametrize("micro_batch", [4, 32])
@pytest.mark.parametrize("name", ["static", "mobilenet_v1"])
def test_exact_agrees_with_fast_to_rounding(split: Index, name: str, micro_batch: int) -> None:
    """Batches of 96 images: a tree over 24 or 3 micro-batches."""
    changes = {"model__name": name, "wiring__name": "complete", "batch": 96, "micro_batch": micro_batch}
    fast, exact = (steps(train(**changes, reduce=kind), split, 1) for kind in ("fast", "exact"))
    ours, theirs = exact.snapshot(IDENTITY), fast.snapshot(IDENTITY)
    for tensor, value in theirs.model.items():
        torch.testing.assert_close(ours.model[tensor], value, rtol=1e-5, atol=1e-6, msg=tensor)
    assert float(ours.meter[1]) == pytest.approx(float(theirs.meter[1]), rel=1e-5)


@pytest.mark.parametrize("reduce", ["fast", "exact"])
def test_losses_add_up_to_the_same_in_any_order(split: Index, reduce: str) -> None:
    made = steps(train(reduce=reduce, micro_batch=4), split, 2)
    assert float(made.meter[1] * 2**20).is_integer()
