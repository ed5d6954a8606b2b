"""metrics.jsonl, which may have hundreds of megabytes, read once and from then on where reading stopped.

Of what was read is kept what goodput is told by, and enough of the curves to draw them.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dnw.runs import jsonl
from shards.regular_file import open_file

Line = Mapping[str, Any]
# how each line ends, see dnw/training/monitor.py
WRITTEN = re.compile(rb'"attempt": (\d+), "time": ([0-9.]+)\}$')
CHUNK_BYTES = 2**20
MARK_BYTES = 64  # by which it is seen that what was read is still there
POINTS = 300  # of a curve; at most twice as many
EVALUATIONS = 4000  # kept at most, the newest
_TRIED = 4  # lines looked at for one of training


class MetricsScan:
    """What has been read so far of one file, which others append to, and replace.

    Attributes:
        bytes_read: of the file, over all calls.
    """

    def __init__(self, path: Path, has_curves: bool = False) -> None:
        """Begin before its first line.

        Args:
            path: of the file.
            has_curves: keep points of the curves, too.
        """
        self.path, self.has_curves = path, has_curves
        self.bytes_read = 0
        self._whole: tuple[int, ...] | None = None  # number, size and time of a file that was read to its end
        self._begin_anew(None)

    def read_on(self, most_bytes: int | None = None) -> bool:
        """Read what is new; all of it, where another file has taken its place.

        Args:
            most_bytes: at most about so many; None: all.

        Returns:
            whether nothing is left but a line that is being written.

        Raises:
            OSError: it can't be read.
        """
        try:
            before = self._stamp_of(self.path.stat())
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

    def lines(self) -> defaultdict[int, list[Line]]:
        """Return, of each attempt, the lines of checkpoints, and when the last other one was written."""
        found = defaultdict(list, {attempt: list(lines) for attempt, lines in self._saves.items()})
        for attempt, at in self._last.items():
            found[attempt].append({"kind": "other", "time": at})
        return found

    def training(self) -> list[dict[str, Any]]:
        """Return some records of training, over all that was read, in order."""
        return list(self._train)

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the records of evaluations, in order."""
        return list(self._val)

    def _begin_anew(self, file: tuple[int, int] | None) -> None:
        self._file, self._offset, self._mark = file, 0, b""
        self._whole = None
        self._saves: defaultdict[int, list[Line]] = defaultdict(list)
        self._last: dict[int, float] = {}
        self._train: list[dict[str, Any]] = []
        self._val: list[dict[str, Any]] = []
        self._next, self._stride = 0, 1

    @staticmethod
    def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

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
        self._take(block)
        self._offset += end
        self._mark = (self._mark + block[-MARK_BYTES:])[-MARK_BYTES:]
        return end

    def _take(self, block: bytes) -> None:
        self._take_times(block)
        for line in _lines_with(block, b'"save"'):
            if end := WRITTEN.search(line):
                self._saves[int(end[1])].extend(jsonl.whole([line]))
        if self.has_curves:
            self._take_curves(block)

    def _take_curves(self, block: bytes) -> None:
        self._val.extend(one for one in jsonl.whole(_lines_with(block, b'"val"')) if one.get("kind") == "val")
        del self._val[:-EVALUATIONS]
        self._take_points(block)

    def _take_times(self, block: bytes) -> None:
        """Note the last line of each attempt: all are of one, unless another begins in here."""
        first = _attempt_of(block[: block.find(b"\n")])
        for line in reversed(block.split(b"\n")) if first is None else _backwards(block):
            if b'"save"' in line or (end := WRITTEN.search(line)) is None:
                continue
            attempt = int(end[1])
            self._last[attempt] = max(self._last.get(attempt, 0.0), float(end[2]))
            if attempt == first:
                return

    def _take_points(self, block: bytes) -> None:
        """Take a record of training every so many bytes, and half of them whenever they are too many."""
        while (place := self._next - self._offset) < len(block):
            begin = block.rfind(b"\n", 0, place) + 1 if place else 0
            for _ in range(_TRIED):
                end = block.find(b"\n", begin)
                if end < 0:  # not even the end of a line
                    begin = len(block)
                    break
                found = [one for one in jsonl.whole([block[begin:end]]) if one.get("kind") == "train"]
                self._train.extend(found)
                begin = end + 1
                if found:
                    break
            self._next = self._offset + max(begin, place + self._stride)
            if len(self._train) > 2 * POINTS:
                del self._train[1::2]
                self._stride = max(2 * self._stride, (self._offset + begin) // len(self._train))


def _attempt_of(line: bytes) -> int | None:
    end = WRITTEN.search(line)
    return int(end[1]) if end else None


def _backwards(block: bytes) -> Iterator[bytes]:
    """Yield lines from the last to the first, splitting no more than are asked for."""
    end = len(block)
    while end > 0:
        begin = block.rfind(b"\n", 0, end - 1) + 1
        yield block[begin:end].rstrip(b"\n")
        end = begin


def _lines_with(block: bytes, word: bytes) -> Iterator[bytes]:
    place = block.find(word)
    while place >= 0:
        begin, end = block.rfind(b"\n", 0, place) + 1, block.find(b"\n", place)
        end = len(block) if end < 0 else end
        yield block[begin:end]
        place = block.find(word, end)
