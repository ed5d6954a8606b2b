from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def cgroup() -> Iterator[Callable[[int], Path]]:
    """Makes a cgroup of so many MiB, which is empty by the end of the test; skips where none can be made."""
    first = Path("/sys/fs/cgroup/memory")
    folder = (first if first.is_dir() else Path("/sys/fs/cgroup")) / f"dnw-test-{os.getpid()}"

    def make(mib: int) -> Path:
        try:
            folder.mkdir()
            limit = "memory.limit_in_bytes" if first.is_dir() else "memory.max"
            (folder / limit).write_text(str(mib * 2**20))
        except OSError as error:
            pytest.skip(f"no cgroup can be made here: {error}")
        return folder

    yield make
    if folder.is_dir():
        folder.rmdir()
