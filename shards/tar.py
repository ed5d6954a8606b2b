"""Tar archives, byte for byte: written reproducibly, read without forgiving anything.

Python's tarfile, and with it most readers, take a damaged header for the end of the archive and go on without
a word. Here a missing end-of-archive mark, a bad checksum or anything after the mark is an error.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from shards.errors import ShardError

BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * BLOCK)
_REMEDY = "copy or write this shard again"
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_ABOUT_NEXT = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
_WITHOUT_DATA = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)


class Member(NamedTuple):
    """A file in an archive: its name, where its data begin and how long they are (bytes), and the data."""

    name: str
    offset: int
    size: int
    data: bytes


def header(name: str, size: int) -> bytes:
    """Return the USTAR header of a file of `size` bytes, 512 bytes; owner, mode and time are fixed.

    Raises:
        ShardError: the name is too long for USTAR.
    """
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    try:
        return info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError as error:
        raise ShardError(f"{name!r}: no name for a member of a tar file ({error}): shorten it") from error


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of a file of `size` bytes."""
    return bytes(-size % BLOCK)


def end(position: int) -> bytes:
    """Return the end-of-archive mark at `position`, filled up to a full record of 10,240 bytes."""
    return _END + bytes(-(position + len(_END)) % tarfile.RECORDSIZE)


def members(
    take: Callable[[int], bytes], where: str, skip: Callable[[int], int] | None = None
) -> Iterator[Member]:
    """Yield each file of an archive, in order, read through `take(size)` from its first byte to its last.

    With `skip(size)`, which passes over bytes and returns how many there were, files of more than a block are
    not read, and their data left empty.

    Long names of the GNU and POSIX (pax) forms are understood; folders and links are passed over.

    Raises:
        ShardError: the archive is damaged; the message begins with `where` and gives the byte.
    """
    position = 0
    name = ""  # from a long-name header, for the file that follows it
    while info := _next_header(take, where, position):
        position += BLOCK
        size = 0 if info.type in _WITHOUT_DATA else info.size
        stored = size + -size % BLOCK
        is_skipped = skip is not None and info.type in _REGULAR and size > BLOCK
        data = b"" if is_skipped else take(stored)
        there = skip(stored) if skip is not None and is_skipped else len(data)
        if there < stored:
            raise ShardError(
                f"{where}: truncated: member {name or info.name!r} at byte {position} has {size} bytes, "
                f"the file ends after {there} of them: {_REMEDY}",
                key=(name or info.name).partition(".")[0],
                offset=position,
            )
        data = data[:size]
        if info.type in _ABOUT_NEXT:
            name = _long_name(info, data, f"{where}: byte {position}") or name
        else:
            if info.type in _REGULAR:
                yield Member(name or info.name, position, size, data)
            name = ""
        position += stored


def _next_header(take: Callable[[int], bytes], where: str, position: int) -> tarfile.TarInfo | None:
    block = take(BLOCK)
    if len(block) == BLOCK and any(block):
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ShardError(
                f"{where}: bad header at byte {position} ({error}): {_REMEDY}", offset=position
            ) from error
        if info.size < 0:
            raise ShardError(
                f"{where}: bad header at byte {position} (size {info.size}): {_REMEDY}", offset=position
            )
        return info
    second = take(BLOCK) if len(block) == BLOCK else b""
    if len(block) + len(second) < len(_END):
        raise ShardError(
            f"{where}: truncated: no end-of-archive mark at byte {position}: {_REMEDY}", offset=position
        )
    if any(second):
        raise ShardError(f"{where}: zeros instead of a header at byte {position}: {_REMEDY}", offset=position)
    _expect_zeros(take, where, position)
    return None


def _expect_zeros(take: Callable[[int], bytes], where: str, position: int) -> None:
    while rest := take(1 << 20):
        if any(rest):
            raise ShardError(
                f"{where}: data after the end-of-archive mark at byte {position}: "
                f"a damaged header, or archives joined together: {_REMEDY}",
                offset=position,
            )


def _long_name(info: tarfile.TarInfo, data: bytes, where: str) -> str:
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if info.type == tarfile.XHDTYPE:
        return _pax_records(data, where).get(b"path", b"").decode("utf-8", "surrogateescape")
    return ""


def _pax_records(data: bytes, where: str) -> dict[bytes, bytes]:
    records = {}
    while data:
        # "<length> <key>=<value>\n", the length counting the whole record
        record = re.match(rb"(\d+) ([^=]+)=", data)
        length = int(record[1]) if record else 0
        if not record or data[length - 1 : length] != b"\n":
            raise ShardError(f"{where}: bad extended header: {_REMEDY}")
        records[record[2]] = data[record.end() : length - 1]
        data = data[length:]
    return records
