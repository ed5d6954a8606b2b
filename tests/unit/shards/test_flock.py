"""Locks of the kernel, and file systems that have none."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from shards.flock import flock


def test_one_holds_it_or_several_share_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("wb") as first, path.open("rb") as second, path.open("rb") as third:
        assert flock(first) == "locked"
        assert flock(second) == "held"
        first.close()
        assert flock(second.fileno(), shared=True, wait=True) == "locked"
        assert flock(third, shared=True) == "locked"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, 524])
def test_a_file_system_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (tmp_path / "lock").open("wb") as file:
        assert flock(file) == "none"
        assert flock(file, shared=True, wait=True) == "none"


def test_another_error_is_one(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as file:
        number = file.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        flock(number)
