"""Lines of logs: several files as one, in order of time; and the tracebacks among them."""

from __future__ import annotations

import heapq
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.files.regular_file import open_file

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d{3}")  # of the workers' log lines
TRACEBACK = re.compile(r"(\[rank\d+\]: )?Traceback \(most recent call last\):")


@dataclass(frozen=True)
class Line:
    """One line of a log. `stamp` sorts as text; a line without one has that of the line before it."""

    stamp: str
    source: str  # who printed it, for people; empty where there is one file alone
    text: str

    def __str__(self) -> str:
        return f"{self.source} | {self.text}" if self.source else self.text


@dataclass(frozen=True)
class Failure:
    """A traceback, and how many processes printed one that ends the same."""

    lines: tuple[Line, ...]
    times: int


class Tail:
    """A file that grows: gives each line once, as soon as it is whole."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self._offset = 0
        self._stamp = ""
        self._rest = b""

    def lines(self, to_the_end: bool = False) -> list[Line]:
        """Return what has come since the last call; `to_the_end` takes an unfinished line, too."""
        if not self.path.exists():
            return []
        with open_file(self.path) as file:
            if file.seek(0, io.SEEK_END) < self._offset:  # begun anew
                self._offset, self._rest = 0, b""
            file.seek(self._offset)
            read = file.read()
        self._offset += len(read)
        *whole, self._rest = (self._rest + read).split(b"\n")
        if to_the_end and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [self._line(text.decode(errors="replace").rstrip("\r")) for text in whole]

    def _line(self, text: str) -> Line:
        if found := STAMP.match(text):
            self._stamp = found[0]
        return Line(self._stamp, self.source, text)


def merged(tails: Iterable[Tail], to_the_end: bool = False) -> list[Line]:
    """Return the new lines of several files in order of time; those of one file stay in theirs."""
    return list(heapq.merge(*(tail.lines(to_the_end) for tail in tails), key=lambda line: line.stamp))


def failures(lines: Sequence[Line]) -> list[Failure]:
    """Each traceback once, the first one first."""
    blocks: dict[str, list[tuple[Line, ...]]] = {}
    for source in dict.fromkeys(line.source for line in lines):
        own = [line for line in lines if line.source == source]
        for block in _blocks(own):
            blocks.setdefault(_bare(block[-1]), []).append(block)
    found = [Failure(alike[0], len(alike)) for alike in blocks.values()]
    return sorted(found, key=lambda failure: failure.lines[0].stamp)


def _blocks(lines: Sequence[Line]) -> list[tuple[Line, ...]]:
    """From each head of a traceback to the line that names the error: the next one that isn't indented."""
    found = []
    begin: int | None = None
    for number, line in enumerate(lines):
        if TRACEBACK.match(line.text):
            begin = number
        elif begin is not None and _bare(line) and not _bare(line).startswith(" "):
            found.append(tuple(lines[begin : number + 1]))
            begin = None
    return found


def _bare(line: Line) -> str:
    return re.sub(r"^\[rank\d+\]: ", "", line.text)
