"""What the system tells of the CPU's caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnw.engines.native.caches import level_2


def tells(folder: Path, index: int, **files: str) -> None:
    cache = folder / f"index{index}"
    cache.mkdir()
    for name, text in files.items():
        (cache / name).write_text(text + "\n")


def test_the_level_2_cache_is_found_among_others(tmp_path: Path) -> None:
    for index, (level, size) in enumerate([("1", "48K"), ("1", "64K"), ("2", "2048K"), ("3", "491520K")]):
        tells(tmp_path, index, level=level, size=size)
    assert level_2(tmp_path) == 2 << 20


@pytest.mark.parametrize(
    "files", [{}, {"level": "2"}, {"level": "1", "size": "48K"}, {"level": "2", "size": "?"}]
)
def test_a_system_may_not_tell(tmp_path: Path, files: dict[str, str]) -> None:
    tells(tmp_path, 0, **files)
    assert level_2(tmp_path) == 0
    assert level_2(tmp_path / "absent") == 0
