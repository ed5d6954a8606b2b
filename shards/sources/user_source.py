"""A source of images that is a class of the user's own: `shards.write my_lab.sources.Mine SOURCE OUT`.

Built with SOURCE as typed, it has `classes`, their names in order, and `images(split)`, which yields each
image of the split "train" or "val" with the number of its class: a path, whose file is copied as it is, or
pixels, uint8 [H, W] (grey) or [H, W, 3] (RGB), which are stored as PNG.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import ShardError
from shards.sources.source import ImageFile, Picture, Pixels, Source, Split
from shards.user_class.check import Kind, check
from shards.user_class.classes import Class
from shards.user_class.loading import load, told
from shards.user_class.modules import UserClassError, search_path

SOURCE = Kind("source of images", positional=("source",), methods={"images": ("split",)})
_SPLITS = ("train", "val")


def user_source(dotted: str, source: str) -> Source:
    """Read the images of a class.

    Args:
        dotted: its path.
        source: what it is built with.

    Raises:
        ShardError: there is no such class, it fails (with file and line), or yields what is no image.
    """
    try:
        found = check(dotted, SOURCE, (), "", search_path())
        made = load(found)
        mine = told(lambda: made(source), found)
        classes = _classes(mine, found)
        splits = {split: _split(mine, found, split, len(classes)) for split in _SPLITS}
    except UserClassError as error:
        raise ShardError(f"{dotted}: {error}") from error
    return Source(found.node.name.lower(), classes, splits, f"{dotted}, {source}")


def _classes(mine: Any, found: Class) -> tuple[str, ...]:
    names = told(lambda: tuple(mine.classes), found)
    if len(names) < 1 or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise UserClassError(f"{found.where}: classes must be names, each once (got {names!r:.80})")
    return names


def _split(mine: Any, found: Class, split: str, classes: int) -> Split:
    pairs: Iterable[Any] = told(lambda: list(mine.images(split)), found)
    digest = hashlib.sha256(split.encode())
    pictures: list[Picture] = []
    labels: list[int] = []
    for number, pair in enumerate(pairs):
        where = f"{found.where}: image {number} of images({split!r})"
        try:
            image, label = pair
        except (TypeError, ValueError):
            raise UserClassError(f"{where} must be an image and the number of its class") from None
        if not isinstance(label, int | np.integer) or not 0 <= label < classes:
            raise UserClassError(f"{where}: its class must be a number below {classes} (got {label!r})")
        labels.append(int(label))
        pictures.append(_picture(image, where))
        digest.update(_identity(image) + b" %d\n" % label)
    if not pictures:
        raise UserClassError(f"{found.where}: images({split!r}) yields nothing")
    keys = [f"{split}-{number:08d}" for number in range(len(pictures))]
    return Split(split, keys, labels, pictures, digest.hexdigest())


def _picture(image: Any, where: str) -> Picture:
    if isinstance(image, Path | str):
        if not Path(image).is_file():
            raise UserClassError(f"{where}: no file {str(image)!r}")
        return ImageFile(Path(image))
    is_pixels = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if not is_pixels or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserClassError(f"{where} must be a path, or pixels, uint8 [H, W] or [H, W, 3] (got {got})")
    return Pixels(image)


def _identity(image: Any) -> bytes:
    """Return what tells an image from another, as far as it is known without reading files."""
    if isinstance(image, np.ndarray):
        return repr(image.shape).encode() + hashlib.sha256(np.ascontiguousarray(image).data).digest()
    return str(image).encode()
