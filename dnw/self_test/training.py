"""A trainer and its batches as a worker has them, for measurements of a few steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from torch.utils.data import DataLoader

from dnw import models
from dnw.config import Train
from dnw.splits import open_splits
from dnw.training.data import Batch, training_batches
from dnw.training.distributed import World
from dnw.training.trainer import Trainer


def ready(train: Train, world: World) -> Trainer:
    """Return a trainer that is about to do its first step; all processes of `world` together."""
    index, _ = open_splits(train.data)
    trainer = Trainer(train, models.build(train), world, index.num_samples)
    trainer.begin()
    return trainer


def loader(train: Train, world: World, steps: int, workers: int) -> DataLoader[Batch]:
    """Return what loads the micro-batches of `steps` steps of `train` for this process of a `world`.

    By `workers` processes; 0: this one does.
    """
    index, _ = open_splits(train.data)
    data = dataclasses.replace(train.data, workers=workers)
    settings = dataclasses.replace(train, data=data)
    return training_batches(settings, index, world.rank, world.size, 0, steps)


def loaded(train: Train, world: World, steps: int) -> Iterator[Batch]:
    """Return the same micro-batches (`steps`, `train`, `world`), all loaded before the first is taken."""
    return iter(list(loader(train, world, steps, workers=0)))
