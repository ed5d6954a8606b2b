"""The lock of a run: one attempt at a time works on it.

The kernel holds it (flock), so that it is free again the moment its last holder dies. The file's content
only says who that is. A job hands its descriptor down to the agent it starts: killed without a word, the
job leaves the run locked until the agent has brought its workers to an end.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 2.0  # whoever only looks (`holder`) holds it for an instant


class HeldError(RuntimeError):
    """Another attempt works on the run; the message says which."""


@dataclass
class Lock:
    """A lock that is held, until `with` ends."""

    path: Path
    descriptor: int

    @classmethod
    def take(cls, path: Path) -> Self:
        """Lock `path`, which is created if need be.

        Raises:
            HeldError: another process holds it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + PATIENCE_S
        while not _try(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise HeldError(f"{path}: held by {describe(read(path))}")
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        return cls(path, descriptor)

    def write(self, **record: Any) -> None:
        """Say who holds it."""
        content = (json.dumps(record) + "\n").encode()
        os.pwrite(self.descriptor, content, 0)
        os.ftruncate(self.descriptor, len(content))
        os.fsync(self.descriptor)  # the other nodes of a job read it through a shared file system

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock, as it said; None if nobody does."""
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return None if _try(descriptor, fcntl.LOCK_SH) else read(path)
    finally:
        os.close(descriptor)


def describe(record: dict[str, Any]) -> str:
    """Who a record names, for people."""
    if not record:
        return "an attempt that is just starting"
    return f"attempt {record['attempt']} (job {record['job']}, process {record['pid']} on {record['host']})"


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read(path: Path) -> dict[str, Any]:
    """What the last holder said of itself, held or not; empty if nothing."""
    if not path.exists():
        return {}
    text = path.read_text()
    record: dict[str, Any] = json.loads(text) if text.endswith("\n") else {}
    return record
