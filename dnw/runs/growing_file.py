"""A file of lines that grows, or is replaced: each whole line is read once, however often it is looked at."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from shards.files.regular_file import open_file

CHUNK_BYTES = 2**20
MARK_BYTES = 64  # by which it is seen that what was read is still there


class GrowingFile:
    """How far one file has been read.

    Attributes:
        bytes_read: of the file, over all calls.
    """

    def __init__(self, path: Path, take: Callable[[bytes, int], None], forget: Callable[[], None]) -> None:
        """Begin before its first line.

        Args:
            path: of the file, which need not be there yet.
            take: is called with a block of whole lines, and the bytes of the file before it.
            forget: is called where another file has taken its place, of which all blocks follow: an attempt
                that goes on cuts the log back to where it does.
        """
        self.path, self._take, self._forget = path, take, forget
        self.bytes_read = 0
        self._whole: tuple[int, ...] | None = None  # number, size and time of a file that was read to its end
        self._file: tuple[int, int] | None = None
        self._offset, self._mark = 0, b""

    def read_on(self, most_bytes: int | None = None) -> bool:
        """Take what is new; all of it, where another file has taken its place.

        Args:
            most_bytes: at most about so many; None: all.

        Returns:
            whether nothing is left but a line that is being written.

        Raises:
            OSError: it can't be read.
        """
        try:
            before = _stamp_of(self.path.stat())
        except FileNotFoundError:
            self._begin_anew(None)
            return True
        if before == self._whole:
            return True
        with open_file(self.path) as file:
            there = os.fstat(file.fileno())
            if self._file != (there.st_dev, there.st_ino) or not self._is_as_read(file):
                self._begin_anew((there.st_dev, there.st_ino))
            left = math.inf if most_bytes is None else most_bytes
            while left > 0:
                taken = self._take_chunk(file)
                if not taken:
                    self._whole = before
                    return True
                left -= taken
        return False

    def unread(self) -> int:
        """Return how many bytes there are to read, about.

        Raises:
            OSError: nobody can tell.
        """
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return 0
        return size - self._offset if size >= self._offset else size

    def _begin_anew(self, file: tuple[int, int] | None) -> None:
        self._file, self._offset, self._mark, self._whole = file, 0, b"", None
        self._forget()

    def _is_as_read(self, file: BinaryIO) -> bool:
        """Whether what was read last is where it was: numbers of files come again."""
        file.seek(self._offset - len(self._mark))
        return file.read(len(self._mark)) == self._mark

    def _take_chunk(self, file: BinaryIO) -> int:
        """Take whole lines from where reading stopped; return their bytes, 0 at the end."""
        file.seek(self._offset)
        chunk = file.read(CHUNK_BYTES)
        self.bytes_read += len(chunk)
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            if len(chunk) < CHUNK_BYTES:
                return 0
            end = len(chunk)  # no line of metrics is as long
        block = chunk[:end]
        self._take(block, self._offset)
        self._offset += end
        self._mark = (self._mark + block[-MARK_BYTES:])[-MARK_BYTES:]
        return end


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
