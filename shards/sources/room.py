"""What the images of a source take as shards, before any is written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from shards.errors import ShardError
from shards.sources.source import FilePart, ImageFile, Picture
from shards.tar import BLOCK

_LOOKED_AT = 1000  # images, of a source of more: their mean is the others' within a few percent
_MARGIN = 0.95  # for that
_TOLD = 1e9  # bytes from which it is told


def check_room(pictures: Sequence[Picture], folder: Path) -> None:
    """Tell what a large set will take, and refuse it where the disk has less.

    Of images that are encoded on the way nothing is known, and nothing told.

    Args:
        pictures: that are to be written.
        folder: where to.

    Raises:
        ShardError: the disk has less.
        OSError: a file can't be looked at.
    """
    step = -(-len(pictures) // _LOOKED_AT) or 1
    sizes = [size for picture in pictures[::step] if (size := _bytes(picture)) is not None]
    if not sizes:
        return
    needed = sum(sizes) * len(pictures) // len(sizes)
    free = shutil.disk_usage(folder).free
    if needed * (1 if step == 1 else _MARGIN) > free:
        raise ShardError(
            f"{folder}: the shards will take {needed / 1e9:,.1f} GB, the disk has {free / 1e9:,.1f} GB free: "
            "make room, or write to another disk, or scale the images down with --longest N"
        )
    if needed > _TOLD:
        print(f"will take {needed / 1e9:,.1f} GB of the {free / 1e9:,.1f} GB that are free")


def _bytes(picture: Picture) -> int | None:
    """Return what an image takes with its headers and its class; None where it isn't known."""
    if isinstance(picture, FilePart):
        size = picture.size
    elif isinstance(picture, ImageFile):
        size = picture.path.stat().st_size
    else:
        return None
    return size + -size % BLOCK + 3 * BLOCK
