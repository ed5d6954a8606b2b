import errno
from pathlib import Path

import pytest

from dnw.runs import jsonl


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert jsonl.read(path) == []
    jsonl.append(path, {"step": 1})
    jsonl.append(path, {"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert jsonl.read(path) == [{"step": 1}, {"step": 2}]


def test_a_line_that_was_cut_off_stays_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"step": 1}\n{"st')
    jsonl.append(path, {"step": 2})
    assert jsonl.read(path) == [{"step": 1}, {"step": 2}]


def test_what_a_power_cut_leaves_is_no_record() -> None:
    lines = [b"\0\0\0", b"\xff", b"7", b"[]", b"", b'{"step": 1}']
    assert list(jsonl.whole(lines)) == [{"step": 1}]


def test_only_wanted_records_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    jsonl.keep(path, lambda _: True)
    assert not path.exists()
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    jsonl.keep(path, lambda record: record["step"] > 1)
    assert path.read_text() == '{"step": 2}\n'


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(OSError, match=r"No space left") as caught:
        jsonl.append(Path("/dev/full"), {"step": 1})
    assert caught.value.errno == errno.ENOSPC
