"""The pictures of a wiring as it was trained, from TensorBoard's files of a run: nothing else keeps them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dnw.runs.folder import Run
from shards.files.folder_entries import matching
from shards.files.regular_file import open_file

_LENGTH = struct.Struct("<Q")  # of a record: a checksum stands behind it, and behind the record
_SUM_BYTES = 4


@dataclass(frozen=True)
class Picture:
    """One weight's wiring after a step: `name` and `step` together name it."""

    name: str  # wiring/graph
    step: int
    time: float  # seconds since 1970
    png: bytes


class PictureReader:
    """Reads the pictures of a run, each once, from where reading stopped."""

    def __init__(self, run: Run) -> None:
        """Begin before the first one."""
        self._folder = run.tensorboard
        self._offsets: dict[Path, int] = {}
        self._seen: set[tuple[str, int]] = set()

    def new(self) -> list[Picture]:
        """Return those since the last call, by step; of steps that were redone the first ones.

        Raises:
            OSError: they can't be read.
        """
        found: dict[tuple[str, int], Picture] = {}
        for path in matching(self._folder, "events.out.tfevents.*"):
            for record in self._records(path):
                for picture in _pictures(record):
                    found.setdefault((picture.name, picture.step), picture)
        new = {place: picture for place, picture in found.items() if place not in self._seen}
        self._seen |= new.keys()
        return sorted(new.values(), key=lambda one: (one.step, one.name))

    def _records(self, path: Path) -> Iterator[bytes]:
        """Yield the records that are whole; behind one that a dead process left there is nothing."""
        with open_file(path) as file:
            while True:
                file.seek(self._offsets.get(path, 0))
                head = file.read(_LENGTH.size + _SUM_BYTES)
                if len(head) < _LENGTH.size + _SUM_BYTES:
                    return
                (size,) = _LENGTH.unpack_from(head)
                if file.tell() + size + _SUM_BYTES > path.stat().st_size:
                    return
                record = file.read(size)
                self._offsets[path] = file.tell() + _SUM_BYTES
                yield record


def _pictures(record: bytes) -> Iterator[Picture]:
    if b"\x89PNG" not in record:  # which spares parsing all others
        return
    from google.protobuf.message import DecodeError  # noqa: PLC0415  (every job's process imports this module)
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415

    try:
        event = Event.FromString(record)
    except DecodeError:  # what a power cut has left
        return
    for value in event.summary.value:
        if value.HasField("image"):
            yield Picture(value.tag, event.step, event.wall_time, value.image.encoded_image_string)
