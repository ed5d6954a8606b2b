"""Sockets fit into the folder for temporary files, however long TMPDIR is."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from dnw import temporary_folder as module
from dnw.temporary_folder import BELOW, LONGEST, temporary_folder


def long_folder(length: int) -> Path:
    """A folder whose path has so many bytes."""
    base = tempfile.mkdtemp(dir="/tmp", prefix="a")
    folder = Path(base, "x" * (length - len(base) - 1))
    folder.mkdir()
    return folder


@pytest.mark.parametrize("over", [0, 1, 60])
def test_a_socket_can_be_made_there(monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    folder = long_folder(LONGEST - BELOW + over)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(folder))
    chosen = temporary_folder()
    assert (chosen == str(folder)) == (over == 0)
    with tempfile.TemporaryDirectory(prefix="dnw-", dir=chosen) as job:
        deepest = Path(job, "pymp-abcdefgh")
        deepest.mkdir()
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(deepest / "listener-abcdefgh"))


def test_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(long_folder(90)))
    monkeypatch.setattr(module, "OTHERS", ("/nowhere",))
    with pytest.raises(OSError, match=r"TMPDIR=.*too long for sockets.*/nowhere"):
        temporary_folder()
