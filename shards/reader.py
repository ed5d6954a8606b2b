"""Samples by number, read straight from their shards."""

from __future__ import annotations

import bisect
import contextlib
import logging
import os
import tarfile
import time
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from shards.errors import BadSampleError, ShardError, remake
from shards.files.regular_file import FAILED, FAILURES, descriptor_of
from shards.ignored import literal, printable
from shards.index import Index
from shards.shard import key_in, keys
from shards.tar import BLOCK

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 4.0, 16.0)  # before a shard is opened anew that a file system failed to read


class Sample(NamedTuple):
    """A sample as stored: the bytes of its image file, and its class."""

    data: bytes
    label: int


class Place(NamedTuple):
    """Where a sample is: its shard, its key, and the first byte of its image."""

    shard: str
    key: str
    offset: int

    def __str__(self) -> str:
        return f"{self.shard}: key {self.key} at byte {self.offset}"


class Reader:
    """Reads samples in any order, from any thread; forked and pickled copies read on their own.

    Args:
        index: the split to read.
        open_files: how many shards are kept open at most.
    """

    def __init__(self, index: Index, open_files: int = 128) -> None:
        self.index = index
        self._limit = open_files
        self._files: OrderedDict[int, _File] = OrderedDict()
        self._members = index.members
        self._checked: set[int] = set()
        self._keys: tuple[int, list[str]] | None = None

    def read(self, sample: int) -> Sample:
        """Read the sample with this number.

        Raises:
            IndexError: there is no such number.
            BadSampleError: the shard ends too early, or its bytes aren't those that were indexed.
            ShardError: the index is damaged; or the shard can't be fetched, opened or read.
        """
        shard = self._shard(sample)
        if shard not in self._checked:
            self.index.check_rows(shard)
            self._checked.add(shard)
        offset, size, label, crc32 = self._members[sample].item()
        data = self._bytes(shard, offset, size)
        if len(data) < size or zlib.crc32(data) != crc32:
            fault = f"ends {size - len(data)} bytes early" if len(data) < size else "its bytes changed"
            path = printable(self.index.paths[shard])
            raise BadSampleError(
                f"{path}: image of {size} bytes at byte {offset} {fault} since it was "
                "indexed: copy or write this shard again"
            )
        return Sample(data, label)

    def key(self, sample: int) -> str:
        """Return the key of a sample, as the headers up to it have it.

        Raises:
            IndexError: there is no such number.
            ShardError: there is no readable header in front of the image.
        """
        shard = self._shard(sample)
        file, known = self._file(shard), self._keys_of(shard)
        if (place := sample - self.index.starts[shard]) < len(known):
            return known[place]
        offset = int(self._members[sample]["offset"]) - BLOCK
        try:
            return key_in(file.read(offset, BLOCK))
        except tarfile.HeaderError as error:
            raise ShardError(
                f"{printable(self.index.paths[shard])}: bad header at byte {offset} ({error}): "
                "copy or write this shard again"
            ) from error

    def _keys_of(self, shard: int) -> list[str]:
        """Return the keys of a shard, as far as its headers can be read; those of the last one are kept."""
        kept = self._keys
        if kept is None or kept[0] != shard:
            found: list[str] = []
            with contextlib.suppress(ShardError):
                size = self.index.shards[shard].bytes
                for key in keys(self._file(shard).read, size, self.index.skip):
                    found.append(key)
            kept = self._keys = (shard, found)
        return kept[1]

    def place(self, sample: int) -> Place:
        """Where a sample is, for messages.

        Raises:
            IndexError: there is no such number.
        """
        path = self.index.paths[self._shard(sample)]
        try:
            key = self.key(sample)
        except (ShardError, OSError):
            key = "?"  # its header is damaged too
        return Place(printable(path), printable(key), int(self._members[sample]["offset"]))

    def where(self, sample: int) -> str:
        """Return where a sample lies, in words: shard, key and byte."""
        return str(self.place(sample))

    def remedy(self, sample: int) -> str:
        """Return what helps where the image of a sample can't be decoded, though its bytes are as indexed."""
        index = self.index
        try:
            skip = (*(index.skip or ()), f"{literal(self.key(sample))}.*")
        except (ShardError, OSError):
            return "copy or write this shard again"
        if index.store is None:
            again = remake(index.folder, skip, same_keys=index.same_keys > 0)
            return f"replace it, or leave it out with: {again}"
        again = remake(Path("FOLDER"), skip, same_keys=index.same_keys > 0)
        return (
            f"replace it where the shards lie, or leave it out there with: {again}; then remove the indexes "
            f"of {printable(index.folder)}, and they are fetched from data.url again"
        )

    def _bytes(self, shard: int, offset: int, size: int) -> bytes:
        """Read a part of a shard, after pauses where the file system fails. Raises ShardError."""
        for pause_s in (*PAUSES_S, None):
            try:
                return self._file(shard).read(offset, size)
            except OSError as error:
                why = f"{printable(self.index.paths[shard])}: can't be read ({error.strerror or error})"
                if error.errno not in FAILURES:
                    raise ShardError(why) from error
                if pause_s is None:
                    raise ShardError(f"{why}, {1 + len(PAUSES_S)} times tried: {FAILED}") from error
            log.warning("%s; trying again in %.0f s", why, pause_s)
            self._files.pop(shard, None)  # a stale handle stays stale
            time.sleep(pause_s)
        raise AssertionError("no try at all")

    def _shard(self, sample: int) -> int:
        if not 0 <= sample < self.index.num_samples:
            raise IndexError(f"sample {sample}: split {self.index.split} has {self.index.num_samples}")
        return bisect.bisect_right(self.index.starts, sample) - 1

    def _file(self, shard: int) -> _File:
        # Each call on the dict is atomic, and a file closes when its last user lets go of it: no lock needed.
        file = self._files.pop(shard, None) or self._open(shard)
        self._files[shard] = file
        if len(self._files) > self._limit:
            self._files.popitem(last=False)
        return file

    def _open(self, shard: int) -> _File:
        store = self.index.store
        if store is not None:
            return _File(store.open(self.index.shards[shard]))
        return _File(descriptor_of(self.index.paths[shard]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self.index, self._limit)


class _File:
    """An open file without a position, closed with its last reference."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer only at the end of the file."""
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data

    def __del__(self) -> None:
        os.close(self._descriptor)
