"""Files opened for reading, if they are files: a FIFO would keep whoever opens it waiting for ever.

What a run, an index or a set of shards consists of is read through this, so that whatever lies in the place
of a file is told by its path, as any other fault of the file system is (shards/command.py).
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from shards.errors import ShardError
from shards.ignored import printable

# of a file system or its server, not of what is in the file: trying again may help
FAILURES = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.ESHUTDOWN}
)
FAILED = "the file system failed, which says nothing of the file: type this again once it works"
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class ChangedError(ShardError):
    """A file that was written to or replaced while it was read: nothing is known of what it is now."""


def descriptor_of(path: Path, flags: int = os.O_RDONLY, is_ours: bool = False) -> int:
    """Open a regular file and return its descriptor.

    Args:
        path: of the file.
        flags: as of os.open.
        is_ours: nothing but this program makes such a file: it is only looked at once it is open, which is
            one question less to a file server.

    Raises:
        OSError: naming `path`: it isn't there, can't be read, or is a folder, a FIFO or another special file.
    """
    if not is_ours:
        _check(path.stat().st_mode, path)  # before it is opened: opening a device may do something
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; raises as `descriptor_of`, and so does each read."""
    return io.BufferedReader(_Named(descriptor_of(path), path))


@contextmanager
def unchanging(path: Path) -> Iterator[None]:
    """Have a file stay as it is while the block reads it: size, time of change, and the file itself.

    Raises:
        ChangedError: it was written to or replaced meanwhile, whatever the block made of it.
        OSError: it isn't there.
    """
    before = _version(path)
    try:
        yield
    except ShardError:
        _check_version(path, before)
        raise
    _check_version(path, before)


def read_bytes(path: Path) -> bytes:
    """Read a regular file; raises as `descriptor_of`."""
    with open_file(path) as file:
        return file.read()


def read_json(path: Path) -> Any:
    """Parse a regular file as JSON.

    Raises:
        ValueError: it is none.
        OSError: as `descriptor_of`.
    """
    try:
        return json.loads(read_bytes(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _Named(io.FileIO):
    """A file whose failures name it, as those of opening it do."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor)
        self._path = path

    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            error.filename = str(self._path)
            raise

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            error.filename = str(self._path)
            raise


def _version(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _check_version(path: Path, before: tuple[int, ...]) -> None:
    if _version(path) != before:
        raise ChangedError(
            f"{printable(path)}: was changed while it was read: once nobody writes to it any more, type "
            "this again"
        )


def _check(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, must be a file", str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a special file")
        raise OSError(errno.EINVAL, f"is {kind}, must be a file", str(path))
