"""Images in folders named by class: SOURCE/train/<class>/*.jpg, SOURCE/val/<class>/*.jpg; and so ImageNet."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from pathlib import Path

from shards.errors import ShardError
from shards.shard import EXTENSIONS
from shards.sources.source import ImageFile, Source, Split

_SPLITS = ("train", "val")


def imagefolder(source: Path) -> Source:
    """Read a folder of any classes; keys are a number and what the file's name has of plain characters.

    Raises:
        ShardError: a split, or a class of a split, is missing or empty, or train and val differ in classes.
        OSError: a folder can't be read.
    """
    classes = _classes(source)
    splits = {split: _split(source / split, split, classes) for split in _SPLITS}
    name = _plain(source.resolve().name)
    return Source(name, classes, splits, str(source))


def imagenet(source: Path) -> Source:
    """ImageNet's 1,000 classes (folders n01440764 ...), under the names of shards and keys that others use.

    A key is the file's own name (n01440764_10026).

    Raises:
        As `imagefolder`; ShardError also when two files have the same name.
    """
    classes = _classes(source)
    if len(classes) != 1000:
        print(f"warning: {source} has {len(classes)} classes, ImageNet-1k has 1000", file=sys.stderr)
    parts = {"train": "train", "val": "validation"}
    splits = {split: _split(source / split, parts[split], classes, own_names=True) for split in _SPLITS}
    counts = Counter(key for split in splits.values() for key in split.keys)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise ShardError(
            f"{source}: {len(twice)} names stand twice, say {twice[0]!r}: use the kind imagefolder"
        )
    return Source("imagenet1k", classes, splits, str(source))


def _classes(source: Path) -> tuple[str, ...]:
    found = {}
    for split in _SPLITS:
        folder = source / split
        if not folder.is_dir():
            raise ShardError(f"{folder}: no such folder: put the images into {source}/{{train,val}}/<class>/")
        found[split] = {entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."}
        if not found[split]:
            raise ShardError(f"{folder}: holds no class folders: put the images into {folder}/<class>/")
    for one, other in (_SPLITS, _SPLITS[::-1]):
        if more := sorted(found[one] - found[other]):
            raise ShardError(
                f"{source}: {len(more)} classes are in {one} but not in {other}, say {more[0]!r}: "
                "class numbers would differ; give both the same folders"
            )
    return tuple(sorted(found["train"]))


def _split(folder: Path, part: str, classes: tuple[str, ...], *, own_names: bool = False) -> Split:
    files: list[tuple[Path, int]] = []
    others: list[Path] = []
    for label, name in enumerate(classes):
        entries = sorted(entry for entry in (folder / name).iterdir() if entry.name[0] != ".")
        images = [entry for entry in entries if entry.suffix[1:].lower() in EXTENSIONS]
        if not images:
            raise ShardError(f"{folder / name}: holds no images ({', '.join(EXTENSIONS)})")
        files += [(image, label) for image in images]
        others += [entry for entry in entries if entry.suffix[1:].lower() not in EXTENSIONS]
    if others:
        print(f"note: {len(others)} entries of {folder} are no images, say {others[0]}", file=sys.stderr)
    stems = [_plain(path.stem) for path, _ in files]
    keys = stems if own_names else [f"{part}-{number:07d}-{stem[:60]}" for number, stem in enumerate(stems)]
    digest = hashlib.sha256("\n".join(f"{path.parent.name}/{path.name}" for path, _ in files).encode())
    return Split(
        part, keys, [label for _, label in files], [ImageFile(path) for path, _ in files], digest.hexdigest()
    )


def _plain(name: str) -> str:
    # a dot would end a key, a brace would be expanded by others
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
