"""Files of JSON lines that are appended to, also by processes that may be killed while they write."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from shards.atomic import replacing
from shards.files.regular_file import read_bytes


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one record as one line, in one write; a line that was cut off before it stays by itself.

    Raises:
        OSError: the disk is full.
    """
    line = (json.dumps(record) + "\n").encode()
    with path.open("a+b", buffering=0) as file:
        if size := file.seek(0, os.SEEK_END):
            file.seek(size - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read(path: Path) -> list[dict[str, Any]]:
    """All whole records; a line that was cut off while it was written is none."""
    return list(whole(read_bytes(path).split(b"\n"))) if path.exists() else []


def whole(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the records among lines; what a process or a machine that died has left of one is none."""
    for line in lines:
        with contextlib.suppress(ValueError):  # no JSON, or no text at all: zeros, after a power cut
            record = json.loads(line.decode())  # which saves guessing the encoding
            if isinstance(record, dict):
                yield record


def lines_with(block: bytes, word: bytes) -> Iterator[bytes]:
    """Yield the lines of a block in which a word stands, and look at no other one.

    Args:
        block: of whole lines.
        word: such as the name of a kind, in its quotes.
    """
    place = block.find(word)
    while place >= 0:
        begin, end = block.rfind(b"\n", 0, place) + 1, block.find(b"\n", place)
        end = len(block) if end < 0 else end
        yield block[begin:end]
        place = block.find(word, end)


def keep(
    path: Path,
    wanted: Callable[[dict[str, Any]], bool],
    publish: Callable[[Path], AbstractContextManager[BinaryIO]] = replacing,
) -> None:
    """Rewrite the file with the wanted records alone; cut-off lines go too.

    `publish` opens what will replace the file.

    Args:
        path: of the file; one that isn't there stays away.
        wanted: whether a record stays.
        publish: opens what will replace the file.
    """
    if not path.exists():
        return
    records = [record for record in read(path) if wanted(record)]
    with publish(path) as file:
        file.write("".join(json.dumps(record) + "\n" for record in records).encode())


def sync(path: Path) -> None:
    """Have all records on the disk."""
    with path.open("ab") as file:
        os.fsync(file.fileno())
