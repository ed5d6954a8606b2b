"""The images of the study: a part of the training split is held out, and rates are chosen by that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.decode import Picture
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources.source import Source, pixel_split
from shards.write import write

TRAINED_ON = 6_000  # of the training images, by their keys the first: a tenth of Fashion-MNIST's
HELD_OUT = 2_000  # the last of them; of a smaller data set a sixth is held out, and all others are trained on
PER_SHARD = 2500


@dataclass(frozen=True)
class Images:
    """Two folders of shards of one size."""

    tuning: Path  # trained on without the part that is held out, which is the validation split
    test: Path  # whose validation split is the data set's own; nothing is trained on here

    @property
    def name(self) -> str:
        """Of what images they are made, how many, and of what size."""
        return self.tuning.parent.name

    def fingerprint(self) -> str:
        """Return that of the test images."""
        return Index.load(self.test, "val").fingerprint


def images(source: Path, out: Path, size: int, count: int = TRAINED_ON) -> Images:
    """Write the study's shards at a size, unless they are there; killed, it goes on where it was.

    Args:
        source: shards of the data set, larger than `size` or as large.
        out: in which a folder is made, named after size and source.
        size: rows and columns; images are averaged down to it.
        count: of the training images, by their keys the first, that are trained on.

    Raises:
        ShardError: the source isn't there, or is damaged.
    """
    train, test = (Index.load(source, split) for split in ("train", "val"))
    folder = out / f"{size}px-{count}-{train.fingerprint[:8]}{test.fingerprint[:8]}"
    made = Images(folder / "tuning", folder / "test")
    if not all(_is_there(one) for one in (made.tuning, made.test)):
        pixels, labels = _read(train, size)
        last = len(labels) - min(HELD_OUT, len(labels) // 6)
        first = min(last, count)
        kept, held_out = (pixels[:first], labels[:first]), (pixels[last:], labels[last:])
        _write(made.tuning, train, {"train": kept, "val": held_out})
        _write(made.test, train, {"train": held_out, "val": _read(test, size)})
    return made


Pixels = npt.NDArray[np.uint8]  # [N, size, size] or [N, size, size, 3]
Labels = npt.NDArray[np.int64]  # [N]


def _is_there(folder: Path) -> bool:
    try:
        for split in ("train", "val"):
            Index.load(folder, split)
    except ShardError:
        return False
    return True


def _read(index: Index, size: int) -> tuple[Pixels, Labels]:
    """Read a split in the order of its keys, which is that of the data set."""
    reader = Reader(index)
    order = sorted(range(index.num_samples), key=reader.key)
    samples = [reader.read(number) for number in order]
    decoded = np.stack([_smaller(Picture(sample.data).pixels(), size) for sample in samples])
    return decoded, np.array([sample.label for sample in samples], np.int64)


def _smaller(pixels: Pixels, size: int) -> Pixels:
    """Average squares of pixels [H, W, 3], so that `size` rows and columns are left.

    Raises:
        ShardError: they don't come out even.
    """
    height, width = pixels.shape[:2]
    if height != width or height % size:
        raise ShardError(f"images of {height}x{width} pixels can't be averaged down to {size}x{size}")
    side = height // size
    squares = pixels.reshape(size, side, size, side, -1)
    averaged: Pixels = squares.mean((1, 3)).round().astype(np.uint8)
    return averaged


def _write(folder: Path, like: Index, splits: dict[str, tuple[Pixels, Labels]]) -> None:
    made = {split: pixel_split(split, *given) for split, given in splits.items()}
    classes = like.classes or tuple(map(str, range(like.num_classes)))
    write(
        Source("study", classes, made, str(like.folder)), folder, shard_samples=PER_SHARD, seed=0, workers=1
    )
