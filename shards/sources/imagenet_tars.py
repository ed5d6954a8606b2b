"""ImageNet-1k (ILSVRC 2012) as its owners hand it out: three archives, read without being unpacked.

ILSVRC2012_img_train.tar        a tar of a class in it for each of 1,000 classes, n01440764.tar ...
ILSVRC2012_img_val.tar          ILSVRC2012_val_00000001.JPEG ...
ILSVRC2012_devkit_t12.tar.gz    which class each of them has; or the folder that was unpacked from it
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from shards import tar
from shards.classes import refuse_twice
from shards.errors import ShardError
from shards.files.regular_file import open_file
from shards.ignored import Ignored, printable
from shards.shard import EXTENSIONS
from shards.sources.imagefolder import refuse_other_names
from shards.sources.source import FilePart, Source, Split

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_DEVKIT = "ILSVRC2012_devkit_t12"
_TRUTH, _META = "data/ILSVRC2012_validation_ground_truth.txt", "data/meta.mat"
_IMAGES = tuple(f".{extension}" for extension in EXTENSIONS)
_AGAIN = "download it again from image-net.org"


class _Image(NamedTuple):
    key: str
    label: int
    part: FilePart


def imagenet_tars(source: Path, ignored: Ignored | None = None) -> Source:
    """Read the data set from a folder that holds these archives. Classes are numbered by sorted names.

    Args:
        source: the folder.
        ignored: knows which members may be left out, and is told which are.

    Raises:
        ShardError: an archive is missing, damaged, or isn't what it should be; a member would be lost, or has
            the name of another.
        OSError: one can't be read.
    """
    ignored = Ignored() if ignored is None else ignored
    for name in (TRAIN, VAL):
        if not (source / name).is_file():
            raise ShardError(f"{source / name}: missing: {_AGAIN}")
    archives = sorted(_members(source / TRAIN, ignored, (".tar",)), key=lambda one: one.name)
    classes = tuple(Path(archive.name).stem for archive in archives)
    refuse_twice(source / TRAIN, classes, "classes", f": {_AGAIN}")
    refuse_other_names(source / TRAIN, classes)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [_number(numbers, name, source) for name in _ground_truth(source)]
    train = [
        _Image(_key(image.name), numbers[Path(archive.name).stem], image)
        for archive in tqdm(archives, desc=TRAIN, unit=" classes", disable=None)
        for image in _members(archive.path, ignored, _IMAGES, archive)
    ]
    photographs = sorted(_members(source / VAL, ignored, _IMAGES), key=lambda one: one.name)
    if len(photographs) != len(labels):
        held = f"holds {len(photographs)} images, the kit says the classes of {len(labels)}"
        raise ShardError(f"{source / VAL}: {held}: {_AGAIN}")
    val = [_Image(_key(image.name), label, image) for image, label in zip(photographs, labels, strict=True)]
    ignored.check(source)
    refuse_twice(source, [image.key for image in (*train, *val)], "names", f": {_AGAIN}")
    splits = {"train": _split("train", train), "val": _split("validation", val)}
    return Source("imagenet1k", classes, splits, str(source), ignored=ignored)


def _members(
    path: Path, ignored: Ignored, suffixes: Collection[str], within: FilePart | None = None
) -> Iterator[FilePart]:
    """Yield the files of an archive, or of one `within` it, that end so; their content isn't read."""
    start, size = (0, path.stat().st_size) if within is None else (within.start, within.size)
    folder = path.name if within is None else f"{path.name}/{within.name}"
    with open_file(path) as file:
        file.seek(start)
        end = start + size

        def take(count: int) -> bytes:
            return file.read(min(count, end - file.tell()))

        def skip(count: int) -> int:
            there = max(0, min(count, end - file.tell()))
            file.seek(there, io.SEEK_CUR)
            return there

        for member in tar.members(take, printable(path), skip):
            name = f"{folder}/{member.name}"
            if ignored.names(name):
                continue
            if member.odd or Path(member.name).suffix.lower() not in suffixes:
                ignored.refuse(name, member.odd or f"must end in {' or '.join(suffixes)}")
                continue
            yield FilePart(path, start + member.offset, member.size, member.name)


def _split(part: str, images: list[_Image]) -> Split:
    facts = "\n".join(f"{image.part.name} {image.part.size} {image.label}" for image in images)
    keys, labels, pictures = zip(*images, strict=True)
    return Split(
        part, list(keys), list(labels), list(pictures), hashlib.sha256(os.fsencode(facts)).hexdigest()
    )


def _key(name: str) -> str:
    return Path(name).name.partition(".")[0]


def _number(numbers: dict[str, int], name: str, source: Path) -> int:
    if name not in numbers:
        raise ShardError(f"{source}: the development kit speaks of class {name}, {TRAIN} has none: {_AGAIN}")
    return numbers[name]


def _ground_truth(source: Path) -> list[str]:
    """Return the class of each validation image, in the order of their names."""
    from scipy.io import loadmat  # noqa: PLC0415  (a third of a second, for no other kind of source)
    from scipy.io.matlab import MatReadError  # noqa: PLC0415

    truth, meta = (_of_devkit(source, name) for name in (_TRUTH, _META))
    try:
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        names = {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in synsets if one["num_children"] == 0}
        return [names[int(line)] for line in truth.split()]
    except (MatReadError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ShardError(
            f"{source / _DEVKIT}: no class for each image in it ({error!r}): {_AGAIN}"
        ) from error


def _of_devkit(source: Path, name: str) -> bytes:
    if (unpacked := source / _DEVKIT / name).is_file():
        return unpacked.read_bytes()
    archive = source / f"{_DEVKIT}.tar.gz"
    if not archive.is_file():
        raise ShardError(f"{archive}: missing, which says the classes of the validation images: {_AGAIN}")
    try:
        with tarfile.open(archive) as devkit:
            file = devkit.extractfile(f"{_DEVKIT}/{name}")
            assert file is not None
            return file.read()
    except (tarfile.TarError, EOFError, KeyError, OSError) as error:
        raise ShardError(f"{archive}: damaged ({error}): {_AGAIN}") from error
