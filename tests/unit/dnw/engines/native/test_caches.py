"""What the system tells of the CPU's caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnw.engines.native.caches import level_1, level_2


def tells(folder: Path, index: int, **files: str) -> None:
    cache = folder / f"index{index}"
    cache.mkdir()
    for name, text in files.items():
        (cache / name).write_text(text + "\n")


def test_caches_are_found_among_others(tmp_path: Path) -> None:
    there = [
        ("1", "Instruction", "64K"),
        ("1", "Data", "48K"),
        ("2", "Unified", "2048K"),
        ("3", "Unified", "491520K"),
    ]
    for index, (level, kind, size) in enumerate(there):
        tells(tmp_path, index, level=level, type=kind, size=size)
    assert level_1(tmp_path) == 48 << 10
    assert level_2(tmp_path) == 2 << 20


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"level": "2"},
        {"level": "1", "type": "Instruction", "size": "48K"},
        {"level": "2", "type": "Unified", "size": "?"},
    ],
)
def test_a_system_may_not_tell(tmp_path: Path, files: dict[str, str]) -> None:
    tells(tmp_path, 0, **files)
    assert (level_1(tmp_path), level_2(tmp_path)) == (0, 0)
    assert level_2(tmp_path / "absent") == 0
