"""One shard: a tar of samples, each an image and its class, side by side under one key.

<key>.jpg   the image, as jpg or any other of EXTENSIONS
<key>.cls   its class, a decimal number
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from shards import tar
from shards.atomic import replacing
from shards.errors import ShardError
from shards.files.regular_file import open_file, unchanging
from shards.ignored import Ignored, printable

# what torchvision's ImageFolder takes, and two more
EXTENSIONS = ("jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "ppm", "pgm", "tif", "tiff")

# One sample of an index: where its image is within the shard (bytes), its class, zlib.crc32 of the image.
MEMBER = np.dtype([("offset", "<i8"), ("size", "<i4"), ("label", "<i4"), ("crc32", "<u4")])
_LARGEST = 2**31 - 1  # bytes of an image
Members = npt.NDArray[np.void]  # of MEMBER


@dataclass(frozen=True)
class Shard:
    """What is known of a shard file: its name in the folder or below, samples, size in bytes, and SHA-256."""

    file: str
    samples: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what a damaged file says. Raises TypeError."""
        kinds = (str, int, int, str)
        are_right = all(type(value) is kind for value, kind in zip(vars(self).values(), kinds, strict=True))
        if not are_right or not is_inside(self.file):
            raise TypeError(f"no shard: {self}")


def is_inside(file: str) -> bool:
    """Return whether this names a file in a folder or below it, and none outside."""
    return "\0" not in file and not {"", ".", ".."} & {*file.split("/")}


class Entry(NamedTuple):
    """A sample on its way into a shard: image bytes with their extension, under a key without a dot."""

    key: str
    extension: str
    data: bytes
    label: int


def write(path: Path, entries: Iterable[Entry]) -> tuple[Shard, Members]:
    """Write a shard; the same entries give the same bytes. It is there whole or not at all.

    Raises:
        ShardError: a key is too long for a tar file.
        OSError: the folder is not writable or full.
    """
    digest = hashlib.sha256()
    rows = []
    position = 0
    with replacing(path) as file:

        def put(data: bytes) -> None:
            nonlocal position
            file.write(data)
            digest.update(data)
            position += len(data)

        for key, extension, data, label in entries:
            put(tar.header(f"{key}.{extension}", len(data)))
            rows.append((position, len(data), label, zlib.crc32(data)))
            put(data)
            text = str(label).encode()
            after = tar.header(f"{key}.cls", len(text)) + text + tar.padding(len(text))
            put(tar.padding(len(data)) + after)
        put(tar.end(position))
    return Shard(path.name, len(rows), position, digest.hexdigest()), np.array(rows, MEMBER)


class Contents(NamedTuple):
    """What is in a shard file.

    Attributes:
        shard: what is known of the whole.
        members: a row for each sample.
        keys: a number for each key, uint64.
        ignored: what is no part of a sample.
    """

    shard: Shard
    members: Members
    keys: npt.NDArray[np.uint64]
    ignored: Ignored

    def under(self, file: str) -> Contents:
        """Return the same as those of the shard that a folder has under this name."""
        return self._replace(shard=replace(self.shard, file=file))


def scan(path: Path, *, payload: bool = True, skip: Sequence[str] | None = ()) -> Contents:
    """Read a shard from its first byte to its last.

    Other parts of a sample than image and class are counted, and so is what a pattern names.

    Args:
        path: the file.
        payload: without it headers and classes are read, and no image: the digest is "", each crc32 is 0.
        skip: patterns of members that are left out; None: whatever isn't a sample is counted, and no error.

    Raises:
        ShardError: the archive is damaged; a sample is partial, has two images, a key that stood before, or a
            class that is no number; a member belongs to no sample; or it changed while it was read. The
            message names shard, key and byte.
        OSError: it can't be read.
    """
    shown = printable(path)
    ignored = Ignored(skip or ())
    with unchanging(path), open_file(path) as file:
        source = _Source(file, payload)
        members = tar.members(source.take, shown, None if payload else source.skip)
        rows, keys, others, names = [], dict[str, None](), list[tuple[str, str]](), set[str]()
        for key, parts in _samples(members, ignored, others):
            where = f"{shown}: sample {printable(key)!r} at byte {parts[0].offset}"
            try:
                if (name := tar.plain(key)) in names:
                    raise ShardError(f"{where}: this key stood before in the shard: give each sample its own")
                rows.append(_row(parts, where))
            except ShardError as error:
                error.key, error.offset = key, parts[0].offset
                raise
            keys[key] = None
            names.add(name)
    _count_others(others, keys, ignored, is_known=skip is not None)
    ignored.check(path)
    found = Shard(path.name, len(rows), source.size, source.sha256)
    numbers = np.array([number_of(key) for key in keys], np.uint64)
    return Contents(found, np.array(rows, MEMBER), numbers, ignored)


def keys(read: Callable[[int, int], bytes], size: int, skip: Sequence[str] | None) -> Iterator[str]:
    """Yield the key of each sample of a shard, in the order of its rows; no image is read.

    Args:
        read: returns the bytes from an offset on, so many.
        size: of the shard, bytes.
        skip: as it was scanned with.

    Raises:
        ShardError: the shard is damaged.
    """
    place = 0

    def take(count: int) -> bytes:
        nonlocal place
        data = read(place, min(count, size - place))
        place += len(data)
        return data

    def pass_over(count: int) -> int:
        nonlocal place
        there = min(count, size - place)
        place += there
        return there

    for key, _ in _samples(tar.members(take, "", pass_over), Ignored(skip or ()), []):
        yield key


def key_at(path: Path, row: int, skip: Sequence[str] | None) -> str:
    """Return the key of the sample of this row; args and raises as `keys`; OSError where it can't be read."""
    with open_file(path) as file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        found = keys(read, os.fstat(file.fileno()).st_size, skip)
        return next(itertools.islice(found, row, None))


class _Source:
    """The bytes of a file, from its first to its last."""

    def __init__(self, file: BinaryIO, payload: bool) -> None:
        self._file = file
        self._digest = hashlib.sha256() if payload else None
        self._end = os.fstat(file.fileno()).st_size
        self.size = 0  # so far

    @property
    def sha256(self) -> str:
        """The digest of what was taken; "" if that isn't all there is."""
        return self._digest.hexdigest() if self._digest else ""

    def take(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        data = self._file.read(min(count, self._end - self.size))  # a damaged header may ask for terabytes
        if self._digest:
            self._digest.update(data)
        self.size += len(data)
        return data

    def skip(self, count: int) -> int:
        """Pass over the next bytes; how many there were."""
        there = min(count, self._end - self.size)
        self._file.seek(there, os.SEEK_CUR)
        self.size += there
        return there


def key_in(block: bytes) -> str:
    """Return the key in a tar header; of a long name that is a part.

    Raises:
        tarfile.HeaderError: it isn't one.
    """
    return tar.key_of(tar.read_header(block).name)


def number_of(key: str) -> int:
    """64 bits that tell one key from another; two of a billion keys share them at odds of 1 to 37.

    Keys that are unpacked to one file, as a and ./a, have the same.
    """
    name = tar.plain(key).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())


def _samples(
    members: Iterable[tar.Member], ignored: Ignored, others: list[tuple[str, str]]
) -> Iterator[tuple[str, list[tar.Member]]]:
    """Yield key and parts of each sample; adds to `others` name and fault of what is no part of one."""

    def wanted() -> Iterator[tuple[str, tar.Member]]:
        for member in members:
            key, extension = _split(member.name)
            if ignored.names(member.name):
                continue
            if member.odd or extension not in (*EXTENSIONS, "cls"):
                others.append((member.name, member.odd))
            else:
                yield key, member

    for key, group in itertools.groupby(wanted(), operator.itemgetter(0)):
        yield key, [member for _, member in group]


def _count_others(
    others: Iterable[tuple[str, str]], keys: Collection[str], ignored: Ignored, *, is_known: bool
) -> None:
    """Count the other parts of samples; the rest is refused, or counted where that isn't known."""
    for name, odd in others:
        key, extension = _split(name)
        if not odd and key in keys:
            ignored.count(f"*.{extension.rpartition('.')[2]}", name)
        elif is_known:
            ignored.refuse(name, odd or f"no image or class: {_why(key, extension)}")
        else:
            ignored.count("*", name)


def _why(key: str, extension: str) -> str:
    if "." in extension:
        return f"a key ends at the first dot, {printable(key)!r} is none of a sample"
    return f"images are {', '.join(EXTENSIONS)}"


def _split(name: str) -> tuple[str, str]:
    # the key ends at the first dot of the last part, as webdataset has it
    match = re.fullmatch(r"((?:.*/)?[^./]+)\.([^/]*)", name)
    return (match[1], match[2].lower()) if match else (name, "")


def _row(parts: list[tar.Member], where: str) -> tuple[int, int, int, int]:
    classes = [part for part in parts if part.name.lower().endswith(".cls")]
    images = [part for part in parts if part not in classes]
    if len(classes) != 1 or len(images) != 1:
        names = ", ".join(printable(part.name) for part in parts)
        raise ShardError(
            f"{where}: holds {names}: a sample is one image ({', '.join(EXTENSIONS)}) and one .cls"
        )
    label = classes[0].data
    if classes[0].size > tar.BLOCK or not re.fullmatch(rb"\s*\d{1,9}\s*", label):
        raise ShardError(f"{where}: its .cls holds {label[:40]!r}: must be a number, 0 or more, and no more")
    image = images[0]
    if image.size > _LARGEST:
        raise ShardError(f"{where}: an image of {image.size:,} bytes, {_LARGEST:,} at most are read")
    return image.offset, image.size, int(label), image.crc32
