"""The images of a run, checked against its configuration: by launcher, workers and evaluation alike."""

from __future__ import annotations

import shlex
from pathlib import Path

from dnw.config import ConfigError, Data
from shards.classes import Names, differing
from shards.errors import ShardError, remake
from shards.index import Index
from shards.index.agreement import between


def open_splits(
    data: Data, names: Names = None, noted: Path | None = None, *, any_images: bool = False
) -> tuple[Index, Index]:
    """Return the training and the validation split.

    Args:
        data: where they are, and what they are.
        names: the classes of the run, as `check_classes` takes them.
        noted: the file that holds them.
        any_images: take others than the run began with, if they are of its classes.

    Raises:
        ShardError: not there, damaged, other data than the run began with, a shard is in both, or names or
            order of their classes differ, or are others than those of the run.
        ConfigError: they have another number of classes.
    """
    train, val = (Index.load(data.dir, split, data.store()) for split in ("train", "val"))
    for index, frozen in ((train, data.train_fingerprint), (val, data.val_fingerprint)):
        check_classes(index, data, names, noted)
        if frozen and index.fingerprint != frozen and not any_images:
            raise ShardError(
                f"{data.dir}: other shards than this run began with\n"
                f"  now:     {index.fingerprint}\n  the run: {frozen}\n"
                "put the old shards back, or start over with fresh=true; "
                "python -m dnw.evaluate --data FOLDER takes others"
            )
    for _, fault in between(Path(data.dir), (train, val)):
        raise ShardError(f"{data.dir}: {fault}")
    return train, val


def other_images(data: Data, val: Index) -> str:
    """Return what to say of a validation split that isn't the run's; "" where it is, or nothing is known."""
    if data.val_fingerprint in {"", val.fingerprint}:
        return ""
    return f"{val.folder}: its validation split is another than that of the run: {val.num_samples:,} images"


def only_anew(run: Path) -> str:
    """Return how an image that can't be read, and that must count, is left out of a run that has begun."""
    evaluate = f"python -m dnw.evaluate {shlex.quote(str(run))} --data FOLDER"
    return (
        "this run goes on with the same bytes alone: with an image left out or replaced it begins anew, with "
        f"fresh=true; what it has saved is evaluated by: {evaluate}"
    )


def windows_bytes(data: Data, train: Index) -> int:
    """Return what a cache must hold: the window that is read, and the next, which is fetched meanwhile."""
    window = data.window or len(train.shards)
    return min(2 * window, len(train.shards)) * max(shard.bytes for shard in train.shards)


def check_classes(index: Index, data: Data, names: Names, noted: Path | None = None) -> None:
    """Refuse a split whose classes are others than those of a run: in number, name or order.

    Where one of the two has no names their number alone is compared: `unnamed` says so.

    Args:
        index: the split.
        data: what the run is configured for.
        names: the classes of the run.
        noted: the file that holds them, to be named in the message.

    Raises:
        ConfigError: another number of classes.
        ShardError: other names, or another order.
    """
    if index.num_classes != data.classes:
        raise ConfigError(
            f"data.classes: {data.classes}, but the {index.split} split in {index.folder} has "
            f"{index.num_classes} classes; set data.classes={index.num_classes}, or data.dir to the "
            "shards that you mean"
        )
    if found := differing(index.classes, names):
        file = shlex.quote(str(noted)) if noted is not None and noted.exists() else "FILE"
        is_same = index.fingerprint in (data.train_fingerprint, data.val_fingerprint)
        again = (
            f"the shards are the same, give them these names again: {remake(index.folder)} --classes {file}"
            if is_same
            else "name the shards that it was trained on, or write the images in the order of the run: "
            f"python -m shards.write imagefolder SOURCE OUT --classes {file}"
        )
        raise ShardError(f"{index.folder}: the {index.split} split and the run have {found}: {again}")


def unnamed(index: Index, names: Names) -> str:
    """Return what to say where classes could be compared by their number alone; "" where names were."""
    if index.classes is not None and names is not None:
        return ""
    who = f"the shards in {index.folder} don't name them" if index.classes is None else "the run has no names"
    return f"classes: their number alone was compared, {index.num_classes}; {who}"
