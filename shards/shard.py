"""One shard: a tar of samples, each an image and its class, side by side under one key.

<key>.jpg   the image, as jpg, jpeg, png or webp
<key>.cls   its class, a decimal number
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from shards import tar
from shards.atomic import replacing
from shards.errors import ShardError
from shards.regular_file import open_file

EXTENSIONS = ("jpg", "jpeg", "png", "webp")

# One sample of an index: where its image is within the shard (bytes), its class, zlib.crc32 of the image.
MEMBER = np.dtype([("offset", "<i8"), ("size", "<i4"), ("label", "<i4"), ("crc32", "<u4")])
Members = npt.NDArray[np.void]  # of MEMBER


@dataclass(frozen=True)
class Shard:
    """What is known of a shard file: its name, samples, size in bytes, and SHA-256."""

    file: str
    samples: int
    bytes: int
    sha256: str


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
            put(data + tar.padding(len(data)))
            text = str(label).encode()
            put(tar.header(f"{key}.cls", len(text)) + text + tar.padding(len(text)))
        put(tar.end(position))
    return Shard(path.name, len(rows), position, digest.hexdigest()), np.array(rows, MEMBER)


class Contents(NamedTuple):
    """What is in a shard file: what is known of the whole, its rows, and a number for each key, uint64."""

    shard: Shard
    members: Members
    keys: npt.NDArray[np.uint64]


def scan(path: Path, *, payload: bool = True) -> Contents:
    """Read a shard from its first byte to its last.

    Members that are neither image nor class are passed over, as is a sample that has neither.

    Args:
        path: the file.
        payload: without it headers and classes are read, and no image: the digest is "", each crc32 is 0.

    Raises:
        ShardError: the archive is damaged; a sample is partial, has two images, a key that stood before, or a
            class that is no number. The message names shard, key and byte.
        OSError: it can't be read.
    """
    with open_file(path) as file:
        source = _Source(file, payload)
        rows, keys = [], dict[str, None]()
        for key, parts in _samples(tar.members(source.take, str(path), None if payload else source.skip)):
            where = f"{path}: sample {key!r} at byte {parts[0].offset}"
            try:
                if key in keys:
                    raise ShardError(f"{where}: this key stood before in the shard: give each sample its own")
                rows.append(_row(parts, where, payload))
            except ShardError as error:
                error.key, error.offset = key, parts[0].offset
                raise
            keys[key] = None
    found = Shard(path.name, len(rows), source.size, source.sha256)
    return Contents(found, np.array(rows, MEMBER), np.array([number_of(key) for key in keys], np.uint64))


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
        data = self._file.read(count)
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
    """Return the key in a tar header, up to the first dot of the last part.

    Raises:
        tarfile.HeaderError: it isn't one.
    """
    name = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").name
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def number_of(key: str) -> int:
    """64 bits that tell one key from another; two of a billion keys share them at odds of 1 to 37."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest())


def _samples(members: Iterable[tar.Member]) -> Iterator[tuple[str, list[tar.Member]]]:
    named = ((_split(member.name), member) for member in members)
    wanted = ((key, member) for (key, extension), member in named if extension in (*EXTENSIONS, "cls"))
    for key, group in itertools.groupby(wanted, operator.itemgetter(0)):
        yield key, [member for _, member in group]


def _split(name: str) -> tuple[str, str]:
    # the key ends at the first dot of the last part, as webdataset has it
    match = re.fullmatch(r"((?:.*/)?[^./]+)\.([^/]*)", name)
    return (match[1], match[2].lower()) if match else (name, "")


def _row(parts: list[tar.Member], where: str, payload: bool) -> tuple[int, int, int, int]:
    classes = [part for part in parts if part.name.lower().endswith(".cls")]
    images = [part for part in parts if part not in classes]
    if len(classes) != 1 or len(images) != 1:
        names = ", ".join(part.name for part in parts)
        raise ShardError(
            f"{where}: holds {names}: a sample is one image ({', '.join(EXTENSIONS)}) and one .cls"
        )
    label = classes[0].data[:40]
    if not re.fullmatch(rb"\s*\d{1,9}\s*", label):
        raise ShardError(f"{where}: its .cls holds {label!r}: must be a number, 0 or more")
    image = images[0]
    return image.offset, image.size, int(label), zlib.crc32(image.data) if payload else 0
