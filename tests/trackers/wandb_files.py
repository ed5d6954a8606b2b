"""What wandb has written offline, read back through its own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

_BLOCK, _HEADER = 32768, struct.Struct("<IHB")  # checksum, length, kind: whole, first, middle, last
_WHOLE, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a .wandb file: LevelDB's log format behind a header of 7 bytes."""
    content = path.read_bytes()
    assert content.startswith(b":W&B")
    at, message = 7, b""
    while at + _HEADER.size <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER.size:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        message += content[at : at + length]
        at += length
        if kind in {_WHOLE, _LAST}:
            record = Record()
            record.ParseFromString(message)
            message = b""
            yield record


def history(path: Path) -> list[dict[str, Any]]:
    """Return the rows of its curves."""
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.HasField("history")
    ]


def the_file(tracking: Path) -> Path:
    """Return the only file that there is."""
    (found,) = tracking.glob("wandb/offline-run-*/run-*.wandb")
    return found
