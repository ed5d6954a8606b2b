"""Files are opened if they are files; whatever else has their name is told by it, at once."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from shards.files.regular_file import descriptor_of, open_file, read_bytes


def test_a_file_is_read_and_not_inherited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    assert read_bytes(path) == read_bytes(tmp_path / "link") == b"content"
    with open_file(path) as file:
        assert fcntl.fcntl(file, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    for name, said in {"fifo": "is a FIFO", "socket": "is a socket", "/dev/null": "is a device"}.items():
        with pytest.raises(OSError, match=f"{said}, must be a file") as refused:
            read_bytes(tmp_path / name)
        assert (refused.value.errno, refused.value.filename) == (errno.EINVAL, str(tmp_path / name))
    with pytest.raises(IsADirectoryError, match="is a folder, must be a file"):
        read_bytes(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")


def test_a_read_that_fails_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.symlink_to("/proc/self/mem")  # which has no byte 0
    with pytest.raises(OSError, match="Input/output error") as failed:
        read_bytes(path)
    with open_file(path) as file, pytest.raises(OSError, match="Input/output error") as failed_later:
        file.read(4)
    assert failed.value.filename == failed_later.value.filename == str(path)


def test_what_took_the_place_of_a_file_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again once it is open, which doesn't wait for a writer, and closed."""
    os.mkfifo(tmp_path / "fifo")
    closed: list[int] = []
    close = os.close
    file = os.stat_result((stat.S_IFREG, *[0] * 9))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", lambda _: file)
        patched.setattr(os, "close", lambda descriptor: (closed.append(descriptor), close(descriptor)))
        with pytest.raises(OSError, match="is a FIFO"):
            descriptor_of(tmp_path / "fifo")
    assert len(closed) == 1
