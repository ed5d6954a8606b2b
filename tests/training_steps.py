"""A trainer, and one that has done some steps."""

from __future__ import annotations

from dnw import models
from dnw.config import Train
from dnw.training.data import training_batches
from dnw.training.distributed import ALONE
from dnw.training.trainer import Trainer
from shards.index import Index


def trainer(config: Train) -> Trainer:
    return Trainer(config, models.build(config), ALONE, samples=120)


def steps(config: Train, split: Index, count: int) -> Trainer:
    made = trainer(config)
    batches = iter(training_batches(config, split, 0, 1, 0, count))
    for _ in range(count):
        made.step(batches)
    return made
