"""metrics.jsonl, which may have hundreds of megabytes, read once and from then on where reading stopped.

Of what was read is kept what goodput is told by, and enough of the curves to draw them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnw.runs import jsonl
from dnw.runs.growing_file import GrowingFile

Line = Mapping[str, Any]
# how each line ends, see dnw/training/monitor.py
WRITTEN = re.compile(rb'"attempt": (\d+), "time": ([0-9.]+)\}$')
POINTS = 300  # of a curve; at most twice as many
EVALUATIONS = 4000  # kept at most, the newest
_TRIED = 4  # lines looked at for one of training


class MetricsScan:
    """What has been read so far of one file, which others append to, and replace."""

    def __init__(self, path: Path, has_curves: bool = False) -> None:
        """Begin before its first line.

        Args:
            path: of the file.
            has_curves: keep points of the curves, too.
        """
        self.has_curves = has_curves
        self._file = GrowingFile(path, self._take, self._forget)
        self._forget()

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that were read, over all calls."""
        return self._file.bytes_read

    def read_on(self, most_bytes: int | None = None) -> bool:
        """Read what is new; as GrowingFile.read_on.

        Args:
            most_bytes: at most about so many; None: all.

        Returns:
            whether nothing is left but a line that is being written.

        Raises:
            OSError: it can't be read.
        """
        return self._file.read_on(most_bytes)

    def unread(self) -> int:
        """Return how many bytes there are to read; as GrowingFile.unread.

        Raises:
            OSError: nobody can tell.
        """
        return self._file.unread()

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

    def _forget(self) -> None:
        self._saves: defaultdict[int, list[Line]] = defaultdict(list)
        self._last: dict[int, float] = {}
        self._train: list[dict[str, Any]] = []
        self._val: list[dict[str, Any]] = []
        self._next, self._stride = 0, 1

    def _take(self, block: bytes, offset: int) -> None:
        self._take_times(block)
        for line in jsonl.lines_with(block, b'"save"'):
            if end := WRITTEN.search(line):
                self._saves[int(end[1])].extend(jsonl.whole([line]))
        if self.has_curves:
            self._take_curves(block, offset)

    def _take_curves(self, block: bytes, offset: int) -> None:
        self._val.extend(
            one for one in jsonl.whole(jsonl.lines_with(block, b'"val"')) if one.get("kind") == "val"
        )
        del self._val[:-EVALUATIONS]
        self._take_points(block, offset)

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

    def _take_points(self, block: bytes, offset: int) -> None:
        """Take a record of training every so many bytes, and half of them whenever they are too many."""
        while (place := self._next - offset) < len(block):
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
            self._next = offset + max(begin, place + self._stride)
            if len(self._train) > 2 * POINTS:
                del self._train[1::2]
                self._stride = max(2 * self._stride, (offset + begin) // len(self._train))


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
