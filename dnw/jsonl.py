"""Files of JSON lines that are appended to, also by processes that may be killed while they write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def append(path: Path, record: dict[str, Any]) -> None:
    """Add one record as one line, in one write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps(record) + "\n").encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All records; a last line without its end was cut off while it was written and is none."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def keep(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite the file with the wanted records alone; a cut-off last line goes too."""
    if not path.exists():
        return
    temporary = path.with_name(f".{path.name}.tmp")
    records = [record for record in read(path) if wanted(record)]
    temporary.write_text("".join(json.dumps(record) + "\n" for record in records))
    temporary.replace(path)
