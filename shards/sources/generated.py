"""Photographs that were never taken: coloured clouds, one kind a class, drawn from a seed."""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shards.rng import bits
from shards.sources.source import Source, Split

QUALITY = 90  # of the JPEGs
GRAIN = 8  # pixels of a cloud's least part
PARTS = {"train": "train", "val": "val"}


@dataclass(frozen=True)
class Cloud:
    """One image: `number` decides what it looks like."""

    number: int
    label: int
    width: int
    height: int

    def encode(self) -> tuple[str, bytes]:
        """Extension and bytes of a JPEG file."""
        return "jpg", _jpeg(self)


def generated(
    width: int, height: int, samples: dict[str, int], classes: int = 10, different: int = 64
) -> Source:
    """As many images as asked for in each split, of width x height pixels.

    Args:
        width: pixels.
        height: pixels.
        samples: images in each split, "train" and "val".
        classes: how many; all splits have all of them, where there are enough images.
        different: images that differ; after those they come again, so that writing many takes little time.
    """
    splits = {
        split: _split(split, count, width, height, classes, different) for split, count in samples.items()
    }
    names = tuple(f"cloud{number}" for number in range(classes))
    changed = {"width": width, "height": height, "different": different}
    return Source("generated", names, splits, "a seed", changed)


def _split(split: str, count: int, width: int, height: int, classes: int, different: int) -> Split:
    first = 0 if split == "train" else different
    pictures = [
        Cloud(first + number % different, (first + number % different) % classes, width, height)
        for number in range(count)
    ]
    labels = [picture.label for picture in pictures]
    keys = [f"{split}-{number:06d}" for number in range(count)]
    identity = hashlib.sha256(repr((split, count, width, height, classes, different)).encode()).hexdigest()
    return Split(PARTS[split], keys, labels, pictures, identity)


@functools.lru_cache(maxsize=256)
def _jpeg(cloud: Cloud) -> bytes:
    rows, columns = (-(-side // GRAIN) for side in (cloud.height, cloud.width))
    noise = bits(cloud.number, n=rows * columns * 3).astype(np.uint64) >> np.uint64(57)  # 0 to 127
    tint = np.array([40 * (cloud.label >> shift & 3) for shift in range(0, 6, 2)])
    pixels = (noise.astype(np.int64).reshape(rows, columns, 3) + tint).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels).resize((cloud.width, cloud.height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
