"""A file that grows: blocks of whole lines; of what takes its place more in test_metrics_scan.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnw.runs import growing_file
from dnw.runs.growing_file import GrowingFile


def test_blocks_are_whole_lines_at_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    blocks: list[tuple[bytes, int]] = []
    forgotten: list[int] = []
    read = GrowingFile(path, lambda *block: blocks.append(block), lambda: forgotten.append(len(blocks)))
    assert read.read_on()
    path.write_bytes(b"one\ntwo\nth")
    assert read.read_on()
    assert blocks == [(b"one\ntwo\n", 0)]
    assert read.unread() == len(b"th")
    with path.open("ab") as file:
        file.write(b"ree\n")
    assert read.read_on()
    assert blocks[1:] == [(b"three\n", 8)]
    assert read.read_on()
    assert read.bytes_read == 10 + len(b"th") + 6
    forgotten.clear()
    path.write_bytes(b"one\n")
    assert read.read_on()
    assert (forgotten, blocks[2:]) == ([2], [(b"one\n", 0)])
    monkeypatch.setattr(growing_file, "CHUNK_BYTES", 6)
    path.with_name("new").write_bytes(b"1\n2\n3\n4\n5\n6\n7\n")
    path.with_name("new").replace(path)
    assert not read.read_on(most_bytes=3)
    assert read.read_on()
    assert blocks[3:] == [(b"1\n2\n3\n", 0), (b"4\n5\n6\n", 6), (b"7\n", 12)]
