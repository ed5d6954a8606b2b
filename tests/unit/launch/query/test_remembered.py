from pathlib import Path

import pytest

from launch.query.remembered import Remembered, stamp


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    known, path, reads = Remembered(), tmp_path / "a", []

    def read() -> str | None:
        reads.append(1)
        return path.read_text() if path.exists() else None

    assert [known.of("x", (path,), read), known.of("x", (path,), read)] == [None, None]
    path.write_text("one")
    assert [known.of("x", (path,), read), known.of("x", (path,), read)] == ["one", "one"]
    path.with_name("b").write_text("two")  # as long, and maybe at the same time
    path.with_name("b").replace(path)
    assert known.of("x", (path,), read) == "two"
    assert len(reads) == 3
    known.forget_all_but({tmp_path})
    assert known.of("x", (path,), read) == "two"
    known.forget_all_but(set())
    assert known.of("x", (path,), read) == "two"
    assert len(reads) == 4


def test_what_is_raised_is_not_remembered(tmp_path: Path) -> None:
    known, path = Remembered(), tmp_path / "a"
    path.write_text("")

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        known.of("x", (path,), fail)
    assert known.of("x", (path,), lambda: 1) == 1


def test_nothing_there_has_no_stamp(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert stamp(tmp_path / "none") is None
    assert stamp(tmp_path / "file" / "in it") is None
    assert stamp(tmp_path) is not None
