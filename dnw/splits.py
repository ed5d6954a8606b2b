"""The images of a run, checked against its configuration: by launcher, workers and evaluation alike."""

from __future__ import annotations

from dnw.config import ConfigError, Data
from shards.classes import differing
from shards.errors import ShardError, remake
from shards.index import Index


def open_splits(data: Data) -> tuple[Index, Index]:
    """Return the training and the validation split.

    Raises:
        ShardError: not there, damaged, other data than the run began with, a shard is in both, or names or
            order of their classes differ.
        ConfigError: they have another number of classes.
    """
    train, val = (Index.load(data.dir, split, data.store()) for split in ("train", "val"))
    for index, frozen in ((train, data.train_fingerprint), (val, data.val_fingerprint)):
        check_classes(index, data)
        if frozen and index.fingerprint != frozen:
            raise ShardError(
                f"{data.dir}: other shards than this run began with\n"
                f"  now:     {index.fingerprint}\n  the run: {frozen}\n"
                "put the old shards back, or start over with fresh=true"
            )
    if found := differing(train.classes, val.classes):
        raise ShardError(
            f"{data.dir}: classes of the train and the val split differ: {found}: "
            f"say them with: {remake(data.dir)} --classes FILE"
        )
    if both := {shard.file for shard in train.shards} & {shard.file for shard in val.shards}:
        raise ShardError(f"{data.dir}: {min(both)} is in two splits: what is trained on can't validate")
    return train, val


def check_classes(index: Index, data: Data) -> None:
    """Refuse a split with another number of classes. Raises ConfigError."""
    if index.num_classes != data.classes:
        raise ConfigError(
            f"data.classes: {data.classes}, but the {index.split} split in {index.folder} has "
            f"{index.num_classes} classes; set data.classes={index.num_classes}, or data.dir to the "
            "shards that you mean"
        )
