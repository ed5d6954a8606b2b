"""Every wiring goes on after an interruption as if there had been none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from example import train

from dnw import models
from dnw.training.checkpoint import Identity
from dnw.training.data import training_batches
from dnw.training.distributed import ALONE
from dnw.training.trainer import Trainer
from shards.index import Index

STEPS, AT = 3, 1


@pytest.mark.parametrize(
    ("wiring", "quirks"),
    [("no_update", False), ("complete", False), ("td", False), ("td", True), ("reg_td", False)],
)
def test_resumed_it_comes_to_the_same_bits(few_images: Path, wiring: str, quirks: bool) -> None:
    config = train(wiring__name=wiring, wiring__reference_quirks=quirks)
    split = Index.load(few_images, "train")

    def trainer() -> Trainer:
        return Trainer(config, models.build(config), ALONE, samples=120)

    whole, resumed = trainer(), trainer()
    batches = iter(training_batches(config, split, 0, 1, 0, STEPS))
    for step in range(STEPS):
        if step == AT:
            saved = whole.snapshot(Identity("a", "b", "c", "d"))
        whole.step(batches)
    resumed.restore(saved)
    batches = iter(training_batches(config, split, 0, 1, AT, STEPS))
    for _ in range(AT, STEPS):
        resumed.step(batches)
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert resumed.read_meter() == whole.read_meter()
    assert torch.equal(resumed.current_masks()["graph"], whole.current_masks()["graph"])
