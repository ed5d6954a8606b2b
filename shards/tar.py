"""Tar archives, byte for byte: written reproducibly, read without forgiving anything.

Python's tarfile, and with it most readers, take a damaged header for the end of the archive and go on without
a word. Here a missing end-of-archive mark, a bad checksum or anything after the mark is an error.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from shards.errors import ShardError

BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * BLOCK)
_REMEDY = "copy or write this shard again"
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_ABOUT_NEXT = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
_OF_ONE_FILE = {b"path", b"linkpath", b"size"}  # what an extended header of all files can't mean
_WITHOUT_DATA = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
                 tarfile.BLKTYPE)  # fmt: skip
_DEREFERENCE = "pack it again with tar --dereference"
_SPARSE = "a sparse file, which few can read: pack again without --sparse"
_ODD = {
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    b"V": "the label of a volume",
}
# what other files begin with, and what makes a tar of them
_OTHERS = {
    b"\x1f\x8b": "gzip: give it a name that ends in .tar.gz, then unpack it with gunzip",
    b"\x28\xb5\x2f\xfd": "zstd: give it a name that ends in .tar.zst, then unpack it with unzstd",
    b"\xfd7zXZ": "xz: give it a name that ends in .tar.xz, then unpack it with unxz",
    b"BZh": "bzip2: give it a name that ends in .tar.bz2, then unpack it with bunzip2",
    b"PK\x03\x04": "a zip archive: unpack it and pack a tar",
    b"\x04\x22\x4d\x18": "lz4: give it a name that ends in .tar.lz4, then unpack it with unlz4",
    b"version https://git-lfs": "a pointer of Git LFS: fetch what it points to with git lfs pull",
    b"<": "HTML or XML, perhaps a server's answer: copy this shard again",
}


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: its full name.
        offset: where its data begin, bytes.
        size: how long they are, bytes.
        data: themselves; of a hard link to a file of more than a block, b"".
        crc32: zlib.crc32 of them; 0 where they were skipped.
        odd: why it has no data to be read; "" for a file, and for a hard link to one.
    """

    name: str
    offset: int
    size: int
    data: bytes
    crc32: int = 0
    odd: str = ""


def header(name: str, size: int) -> bytes:
    """Return the USTAR header of a file of `size` bytes, 512 bytes; owner, mode and time are fixed.

    Raises:
        ShardError: the name is too long for USTAR.
    """
    text = name.encode("utf-8", "surrogateescape")
    if len(text) > _NAME or size >= 8**11:
        return _rare_header(name, size)
    digits = b"%011o\0" % size
    total = sum(text) + sum(digits) + _SUM
    start = text.ljust(_NAME, b"\0") + _BEFORE_SIZE + digits + _AFTER_SIZE
    return start + b"%06o\0 " % total + _REST


def _rare_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    try:
        return info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError as error:
        raise ShardError(f"{name!r}: no name for a member of a tar file ({error}): shorten it") from error


# all others differ from this one in name, size and sum, and are put together ten times as fast as by tarfile
_NAME = 100  # bytes
_EMPTY = _rare_header("", 0)
_BEFORE_SIZE, _AFTER_SIZE, _REST = _EMPTY[_NAME:124], _EMPTY[136:148], _EMPTY[156:]
_SUM = sum(_BEFORE_SIZE + _AFTER_SIZE + _REST + b" " * 8)


class Header(NamedTuple):
    """What a header says."""

    name: str
    type: bytes
    size: int
    linkname: str


# a file's, as nearly all are: mode, owner, group; size; time; sum; type, no link, magic; names; device
_PLAIN = re.compile(
    rb"(?:[0-7]{7}[\0 ]){3}([0-7]{11})[\0 ][0-7]{11}[\0 ]([0-7]{6})\0 0\0{100}(?:ustar\x0000|ustar  \0).{64}"
    rb"(?:[0-7]{7}[\0 ]|\0{8}){2}",
    re.DOTALL,
)


def read_header(block: bytes) -> Header:
    """Parse the header of a member, 512 bytes. Raises tarfile.HeaderError."""
    found = _PLAIN.match(block, _NAME) if len(block) == BLOCK else None
    if found and sum(block) - sum(block[148:156]) + 8 * 32 == int(found[2], 8):
        name, prefix = block[:_NAME].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
        path = prefix + b"/" + name if prefix else name
        return Header(path.decode("utf-8", "surrogateescape"), tarfile.REGTYPE, int(found[1], 8), "")
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    return Header(info.name, info.type, info.size, info.linkname)


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of a file of `size` bytes."""
    return bytes(-size % BLOCK)


def end(position: int) -> bytes:
    """Return the end-of-archive mark at `position`, filled up to a full record of 10,240 bytes."""
    return _END + bytes(-(position + len(_END)) % tarfile.RECORDSIZE)


def members(
    take: Callable[[int], bytes], where: str, skip: Callable[[int], int] | None = None
) -> Iterator[Member]:
    """Yield each entry of an archive, in order, read through `take(size)` from its first byte to its last.

    With `skip(size)`, which passes over bytes and returns how many there were, files of more than a block are
    not read, and their data left empty.

    Long names of the GNU and POSIX (pax) forms are understood, and hard links yield what they are links to.
    Folders hold nothing of their own: they alone are passed over.

    Raises:
        ShardError: the archive is damaged, compressed, or has sparse files; the message begins with `where`
            and gives the byte.
    """
    position = 0
    about = _About()  # what headers say of the file that follows them
    files: dict[str, Member] = {}
    while info := _next_header(take, where, position):
        position += BLOCK
        name = about.name or info.name
        size = 0 if info.type in _WITHOUT_DATA else info.size if about.size is None else about.size
        stored = size + -size % BLOCK
        is_skipped = skip is not None and info.type in _REGULAR and size > BLOCK
        data = b"" if is_skipped else take(stored)
        there = skip(stored) if skip is not None and is_skipped else len(data)
        if there < stored:
            raise ShardError(
                f"{where}: truncated: member {name!r} at byte {position} has {size} bytes, "
                f"the file ends after {there} of them: {_REMEDY}",
                key=key_of(name),
                offset=position,
            )
        data = data[:size]
        if info.type in _ABOUT_NEXT:
            about = about.with_header(info, data, f"{where}: byte {position}")
            position += stored
            continue
        if info.type == tarfile.GNUTYPE_SPARSE or about.is_sparse:
            raise ShardError(f"{where}: member {name!r} at byte {position}: {_SPARSE}", offset=position)
        if info.type in _REGULAR:
            one = Member(name, position, size, data, 0 if is_skipped else zlib.crc32(data))
            files[plain(name)] = one if size <= BLOCK else one._replace(data=b"")
            yield one
        elif info.type != tarfile.DIRTYPE:
            yield _of_no_data(info, name, about.target or info.linkname, position, files)
        about = _About()
        position += stored
    about.expect_nothing(where, position)


def key_of(name: str) -> str:
    """Return the key in a member's name: all up to the first dot of its last part, as webdataset has it."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _of_no_data(info: Header, name: str, target: str, position: int, files: Mapping[str, Member]) -> Member:
    if info.type == tarfile.LNKTYPE:
        if plain(target) in files:
            return files[plain(target)]._replace(name=name)
        odd = f"a hard link to {target!r}, which doesn't stand before it"
    elif info.type == tarfile.SYMTYPE:
        odd = f"a symbolic link to {target!r}: {_DEREFERENCE}"
    else:
        odd = _ODD.get(info.type, f"of the unknown type {info.type!r}")
    return Member(name, position, 0, b"", 0, odd)


def plain(name: str) -> str:
    """Return a name as it is unpacked: within the folder, and without steps that lead nowhere."""
    if "/" not in name:
        return name
    return "/".join(part for part in name.split("/") if part not in {"", "."})


def _next_header(take: Callable[[int], bytes], where: str, position: int) -> Header | None:
    block = take(BLOCK)
    if len(block) == BLOCK and any(block):
        try:
            info = read_header(block)
        except tarfile.HeaderError as error:
            if position == 0:
                _refuse_others(block, where)
            what = f"bad header at byte {position} ({error})"
            no_tar = "no tar file, or damaged from its first byte on: " if position == 0 else ""
            raise ShardError(f"{where}: {no_tar}{what}: {_REMEDY}", offset=position) from error
        if info.size < 0:
            raise ShardError(
                f"{where}: bad header at byte {position} (size {info.size}): {_REMEDY}", offset=position
            )
        return info
    if position == 0:
        _refuse_others(block, where)
    second = take(BLOCK) if len(block) == BLOCK else b""
    if len(block) + len(second) < len(_END):
        raise ShardError(
            f"{where}: truncated: no end-of-archive mark at byte {position}: {_REMEDY}", offset=position
        )
    if any(second):
        raise ShardError(f"{where}: zeros instead of a header at byte {position}: {_REMEDY}", offset=position)
    zeros = _expect_zeros(take, where, position)
    if position == 0 and len(_END) + zeros > tarfile.RECORDSIZE:  # which an archive of nothing fills at most
        raise ShardError(f"{where}: nothing but zeros, as of a copy that broke off: {_REMEDY}", offset=0)
    return None


def _refuse_others(block: bytes, where: str) -> None:
    """Refuse a file that begins as those of another kind do. Raises ShardError."""
    for start, what in _OTHERS.items():
        if block.startswith(start):
            raise ShardError(f"{where}: is no tar but {what}", offset=0)


def _expect_zeros(take: Callable[[int], bytes], where: str, position: int) -> int:
    """Return how many zeros there are up to the end of the file. Raises ShardError where anything else is."""
    zeros = 0
    while rest := take(1 << 20):
        zeros += len(rest)
        if any(rest):
            raise ShardError(
                f"{where}: data after the end-of-archive mark at byte {position}: "
                f"a damaged header: {_REMEDY}; or archives joined together: unpack with tar -xif, pack again",
                offset=position,
            )
    return zeros


@dataclass(frozen=True)
class _About:
    """What the headers before a file say of it; "" and None where they say nothing."""

    name: str = ""
    target: str = ""
    size: int | None = None
    is_sparse: bool = False

    def expect_nothing(self, where: str, position: int) -> None:
        """Refuse an archive that ends after a header of the next file. Raises ShardError."""
        if self != _About():
            what = f"a header at the end, byte {position}, of a file that isn't there"
            raise ShardError(f"{where}: {what}: {_REMEDY}", offset=position)

    def with_header(self, info: Header, data: bytes, where: str) -> _About:
        """Return this with what one more header says."""
        text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return replace(self, name=text)
        if info.type == tarfile.GNUTYPE_LONGLINK:
            return replace(self, target=text)
        records = _pax_records(data, where)
        is_sparse = any(key.startswith(b"GNU.sparse.") for key in records)
        if info.type == tarfile.XGLTYPE:
            if is_sparse or records.keys() & _OF_ONE_FILE:
                raise ShardError(f"{where}: an extended header gives all files one name or size: {_REMEDY}")
            return self  # a comment, say
        text_of = {key: value.decode("utf-8", "surrogateescape") for key, value in records.items()}
        if not re.fullmatch(r"\d{1,18}", size := text_of.get(b"size", "0"), re.ASCII):
            raise ShardError(f"{where}: bad extended header: {_REMEDY}")
        return _About(
            text_of.get(b"path", self.name),
            text_of.get(b"linkpath", self.target),
            int(size) if b"size" in records else self.size,
            is_sparse,
        )


def _pax_records(data: bytes, where: str) -> dict[bytes, bytes]:
    records = {}
    while data:
        # "<length> <key>=<value>\n", the length counting the whole record
        record = re.match(rb"(\d{1,18}) ([^=]+)=", data)
        length = int(record[1]) if record else 0
        if not record or data[length - 1 : length] != b"\n":
            raise ShardError(f"{where}: bad extended header: {_REMEDY}")
        records[record[2]] = data[record.end() : length - 1]
        data = data[length:]
    return records
