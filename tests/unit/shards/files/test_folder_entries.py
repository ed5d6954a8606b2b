"""Folders that can't be listed: nothing is taken for empty."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dnw.runs.claim import Claim
from dnw.runs.folder import Run
from shards.files.folder_entries import files_below, matching


def test_names_that_match(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", ".c.tar", "d.tar.part"):
        (tmp_path / name).touch()
    assert matching(tmp_path, "*.tar") == [tmp_path / name for name in (".c.tar", "a.tar", "b.tar")]
    assert matching(tmp_path, "[!.]*.tar") == [tmp_path / name for name in ("a.tar", "b.tar")]


def test_no_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert matching(tmp_path / "none", "*") == matching(tmp_path / "file", "*") == []


def test_names_in_folders_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/x.yaml", "b/x.yaml", "b/y.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert matching(tmp_path, "*/x.yaml") == [tmp_path / "a/x.yaml", tmp_path / "b/x.yaml"]
    scandir = os.scandir

    def forbidden(path: Path) -> object:
        if path.name == "b":
            raise PermissionError(errno.EACCES, "forbidden", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert matching(tmp_path, "*/x.yaml") == [tmp_path / "a/x.yaml"]


def test_files_below(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c.py").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "d.py").symlink_to(tmp_path / "a/b/c.py")
    assert list(files_below(tmp_path)) == [tmp_path / "a/b/c.py", tmp_path / "d.py"]
    assert list(files_below(tmp_path / "none")) == []


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO])
def test_a_listing_that_fails_is_no_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(path: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        matching(tmp_path, "*")
    with pytest.raises(OSError, match=os.strerror(number)):
        Claim.newest(Run(tmp_path))  # else the run would begin anew
