"""Images in folders named by class: SOURCE/train/<class>/*.jpg, SOURCE/val/<class>/*.jpg; and so ImageNet."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from shards.classes import refuse_twice
from shards.errors import ShardError
from shards.ignored import Ignored, printable
from shards.shard import EXTENSIONS
from shards.sources import listing
from shards.sources.source import ImageFile, Source, Split

_SPLITS = ("train", "val")
WNID = re.compile(r"n\d{8}")


def imagefolder(source: Path, ignored: Ignored | None = None, classes: Sequence[str] | None = None) -> Source:
    """Read a folder of any classes; keys are a number and what the file's name has of plain characters.

    Args:
        source: the folder.
        ignored: knows what may be left out, and is told what is.
        classes: the names of the class folders in the order of their numbers; None: sorted.

    Raises:
        ShardError: a split, or a class of a split, is missing or empty, train and val differ in classes, the
            order of classes isn't plain, or an entry would be lost.
        OSError: a folder can't be read.
    """
    ignored = Ignored() if ignored is None else ignored
    names = _classes(source, ignored, classes)
    if classes is None and all(re.fullmatch("[0-9]+", name) for name in names):
        _refuse_numbers(source, names)
    splits = {split: _split(source, split, split, names, ignored) for split in _SPLITS}
    ignored.check(source)
    name = _plain(source.resolve().name)
    return Source(name, names, splits, str(source), ignored=ignored)


def imagenet(source: Path, ignored: Ignored | None = None, classes: Sequence[str] | None = None) -> Source:
    """ImageNet's 1,000 classes (folders n01440764 ...), under the names of shards and keys that others use.

    A key is the file's own name (n01440764_10026).

    Args:
        source: folder with a folder for each class.
        ignored: names what may be left out, and counts it; None: nothing may.
        classes: their names, in order; None: those of the folders.

    Raises:
        As `imagefolder`; ShardError also when folders have other names than WordNet's, or two files the same.
    """
    ignored = Ignored() if ignored is None else ignored
    names = _classes(source, ignored, classes)
    if classes is None:
        refuse_other_names(source, names)
    parts = {"train": "train", "val": "validation"}
    splits = {split: _split(source, split, parts[split], names, ignored, own_names=True) for split in _SPLITS}
    ignored.check(source)
    keys = [key for split in splits.values() for key in split.keys]
    refuse_twice(source, keys, "names", ": use the kind imagefolder")
    return Source("imagenet1k", names, splits, str(source), ignored=ignored)


def refuse_other_names(source: Path, names: Sequence[str]) -> None:
    """Refuse ImageNet's classes under other names than WordNet's, whose order is that of their numbers.

    Raises:
        ShardError: a name is none of WordNet's.
    """
    if others := [name for name in names if not WNID.fullmatch(name)]:
        raise ShardError(
            f"{printable(source)}: {len(others)} classes have names that are none of WordNet's (n01440764), "
            f"say {printable(others[0])!r}: name the folders in order with --classes FILE"
        )
    if len(names) != 1000:
        print(f"warning: {source} has {len(names)} classes, ImageNet-1k has 1000", file=sys.stderr)


def _refuse_numbers(source: Path, names: Sequence[str]) -> None:
    if list(names) != sorted(names, key=int):
        raise ShardError(
            f"{printable(source)}: its classes are numbers, which sort as {', '.join(names[:4])} ...: name "
            "the folders in the order that you mean with --classes FILE"
        )


def _classes(source: Path, ignored: Ignored, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = {}
    for split in _SPLITS:
        folder = source / split
        if not folder.is_dir():
            raise ShardError(f"{folder}: no such folder: put the images into {source}/{{train,val}}/<class>/")
        found[split] = set(listing.folders(folder, source, ignored))
        if not found[split]:
            raise ShardError(f"{folder}: holds no class folders: put the images into {folder}/<class>/")
    for name in listing.folders(source, source, ignored):
        if name not in _SPLITS:
            ignored.refuse(name, f"a folder beside {' and '.join(_SPLITS)}")
    for one, other in (_SPLITS, _SPLITS[::-1]):
        if more := sorted(found[one] - found[other]):
            forms = {unicodedata.normalize("NFC", name) for name in found[other]}
            is_form = unicodedata.normalize("NFC", more[0]) in forms
            same = " (there in another Unicode form)" if is_form else ""
            raise ShardError(
                f"{source}: {len(more)} classes are in {one} but not in {other}, say "
                f"{printable(more[0])!r}{same}: class numbers would differ; give both the same folders"
            )
    if classes is None:
        return tuple(sorted(found["train"]))
    if differing := sorted(found["train"] ^ set(classes)):
        raise ShardError(
            f"{source}: {len(differing)} classes are folders or in --classes, but not both, say "
            f"{printable(differing[0])!r}"
        )
    return tuple(classes)


def _split(
    source: Path,
    split: str,
    part: str,
    classes: tuple[str, ...],
    ignored: Ignored,
    *,
    own_names: bool = False,
) -> Split:
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        images = list(listing.images(source / split / name, source, ignored))
        if not images:
            ignored.check(source)  # which tells more
            folder = printable(source / split / name)
            raise ShardError(f"{folder}: holds no images ({', '.join(EXTENSIONS)})")
        files += [(image, label) for image in images]
    stems = [_plain(path.stem) for path, _ in files]
    keys = stems if own_names else [f"{part}-{number:07d}-{stem[:60]}" for number, stem in enumerate(stems)]
    names = (path.relative_to(source / split) for path, _ in files)
    digest = hashlib.sha256(b"\n".join(map(os.fsencode, names)))
    return Split(
        part, keys, [label for _, label in files], [ImageFile(path) for path, _ in files], digest.hexdigest()
    )


def _plain(name: str) -> str:
    # a dot would end a key, a brace would be expanded by others
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
