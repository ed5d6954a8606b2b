from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.study import images as module
from bench.study.images import images
from shards.decode import Picture
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader


@pytest.mark.timeout(120)
def test_a_part_is_held_out_of_what_is_trained_on(few_images: Path, tmp_path: Path) -> None:
    made = images(few_images, tmp_path, 16)
    counts = [Index.load(made.tuning, split).num_samples for split in ("train", "val")]
    assert counts == [100, 20]
    fewer = images(few_images, tmp_path, 16, 30)
    assert keys(fewer.tuning, "train") == set(list_of(made.tuning, "train")[:30])
    assert keys(fewer.tuning, "val") == keys(made.tuning, "val")
    assert Index.load(made.test, "val").num_samples == 50
    assert keys(made.tuning, "train").isdisjoint(keys(made.test, "val"))
    assert Picture(Reader(Index.load(made.tuning, "val")).read(0).data).pixels().shape[:2] == (16, 16)
    before = [path.stat().st_mtime_ns for path in sorted(made.tuning.glob("*.tar"))]
    assert images(few_images, tmp_path, 16) == made
    assert [path.stat().st_mtime_ns for path in sorted(made.tuning.glob("*.tar"))] == before


def keys(folder: Path, split: str) -> set[bytes]:
    """The images of a split."""
    return set(list_of(folder, split))


def list_of(folder: Path, split: str) -> list[bytes]:
    """The same in the order of their keys."""
    reader = Reader(Index.load(folder, split))
    order = sorted(range(reader.index.num_samples), key=reader.key)
    return [reader.read(number).data for number in order]


def test_squares_of_pixels_are_averaged() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2] = [[[100] * 3, [0] * 3], [[200] * 3, [100] * 3]]
    assert module._smaller(pixels, 2)[..., 0].tolist() == [[100, 0], [0, 0]]
    with pytest.raises(ShardError, match="images of 4x4 pixels can't be averaged down to 3x3"):
        module._smaller(pixels, 3)
