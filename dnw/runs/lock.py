"""The lock of a run: one attempt at a time works on it.

The kernel holds it (flock), so that it is free again the moment its last holder is dead. The file's content
only says who that is. A job hands its descriptor down to the agent it starts: killed without a word, the
job leaves the run locked until the agent has brought its workers to an end.

A kernel knows only its own machine, and a file system may let go of a lock, or keep it, when a node is cut
off. So whoever takes it may know better: see `HolderState`. What an attempt that was passed over still
writes, dnw/runs/claim.py keeps out.

Where the file system has no locks, the content says who works on the run, together with what the cluster
knows of that job, or this machine of that process. Of two who take it at one moment the claim lets one go on.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from shards.errors import ExpectedError
from shards.files.regular_file import descriptor_of
from shards.flock import Outcome, flock

PATIENCE_S = 2.0  # whoever only looks (`holder`) holds it for an instant
Record = dict[str, Any]
HolderState = Literal["works", "gone", "unknown"]  # of the holder that a record names


class HeldError(ExpectedError):
    """Another attempt works on the run; the message says which."""


def _unknown(_record: Record) -> HolderState:
    return "unknown"


@dataclass
class Lock:
    """A lock that is held, until `with` ends."""

    path: Path
    descriptor: int

    @classmethod
    def take(cls, path: Path, holder_state: Callable[[Record], HolderState] = _unknown) -> Self:
        """Lock `path`, which is created if need be.

        Args:
            path: of the lock.
            holder_state: what the cluster knows of the attempt that holds it, or held it and didn't let go.
            One
                that works is respected though the lock is free; one that is gone is passed over though the
                lock is held.

        Raises:
            HeldError: another attempt works on the run.
        """
        descriptor = _open(path)
        outcome = _patiently(descriptor)
        if outcome != "held":
            record = read(path)
            state = holder_state(record) if record else "gone"
            if outcome == "none":
                state = _seen_here(record) if state == "unknown" else state
                _say_once(path)
            if state == "works":
                os.close(descriptor)
                raise HeldError(f"{path}: held by {describe(record)}")
        else:
            os.close(descriptor)
            if holder_state(record := read(path)) != "gone":
                raise HeldError(f"{path}: held by {describe(record)}")
            descriptor = _replace(path)
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
        os.ftruncate(self.descriptor, 0)  # let go, where others died
        os.close(self.descriptor)


def holder(path: Path) -> Record | None:
    """Who holds the lock, as it said; None if nobody does."""
    if not path.exists():
        return None
    descriptor = descriptor_of(path)
    try:
        outcome = flock(descriptor, shared=True)
        if outcome == "none":
            return record if _seen_here(record := read(path)) == "works" else None
        return read(path) if outcome == "held" else None
    finally:
        os.close(descriptor)


def describe(record: Record) -> str:
    """Who a record names, for people."""
    if not record:
        return "an attempt that is just starting"
    return f"attempt {record['attempt']} (job {record['job']}, process {record['pid']} on {record['host']})"


def read(path: Path) -> Record:
    """Return what the last holder said of itself, held or not; empty if nothing, or if it let go."""
    try:
        # all nodes of a job ask, again and again
        with os.fdopen(descriptor_of(path, is_ours=True), "rb") as file:
            text = file.read().decode()
    except FileNotFoundError:
        return {}
    record: Record = json.loads(text) if text.endswith("\n") else {}
    return record


def _open(path: Path) -> int:
    if path.exists():
        return descriptor_of(path, os.O_RDWR)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _patiently(descriptor: int) -> Outcome:
    deadline = time.monotonic() + PATIENCE_S
    while (outcome := flock(descriptor)) == "held" and time.monotonic() < deadline:
        time.sleep(0.05)
    return outcome


def _seen_here(record: Record) -> HolderState:
    """Whether the process that a record names lives, as far as this machine can tell."""
    if not record:
        return "gone"
    if record.get("host") != socket.gethostname():
        return "unknown"
    return "works" if Path("/proc", str(record.get("pid"))).exists() else "gone"


@functools.cache
def _say_once(path: Path) -> None:
    told = "this file system has no locks; who works on the run is told by what is in it"
    print(f"note: {path}: {told}", file=sys.stderr, flush=True)


def _replace(path: Path) -> int:
    """Replace the lock's file by a new, locked one; what the former holder has locked loses its name."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    flock(descriptor)
    os.fchmod(descriptor, 0o644)
    Path(name).replace(path)
    return descriptor
