"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_BUFFER = 1 << 20  # bytes: shards are written in many parts


@contextmanager
def replacing(path: Path, through: Path | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write; it takes the name `path` once the block ends well and its bytes are on the disk.

    Until then it is `through`, on the same file system: `path` with .tmp appended unless given. That is
    removed when the block raises.

    Raises:
        OSError: the folder is not there, not writable or full; it names `path`.
    """
    temporary = path.with_name(path.name + ".tmp") if through is None else through
    try:
        with temporary.open("wb", _BUFFER) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in {None, str(temporary)}:
            error.filename = str(path)  # the name that was asked for
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Have a folder on the disk: only then a rename in it lasts through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
