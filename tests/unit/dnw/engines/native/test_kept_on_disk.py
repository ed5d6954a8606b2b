"""Machine code on disk: kept, and done without where it can't be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numba
import pytest

from dnw.engines.native.kept_on_disk import kept, where


def twice(number: float) -> float:
    return 2 * number


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where code is kept."""
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_it_is_compiled_once(folder: Path) -> None:
    first = kept(twice)
    assert first(1.5) == 3
    assert where(first).startswith(f"kept in {folder}")
    again = kept(twice)
    assert again(1.5) == 3
    assert (len(first.stats.cache_misses), len(again.stats.cache_misses)) == (1, 0)


def test_without_a_place_for_it_each_process_compiles() -> None:
    names: dict[str, Any] = {}
    exec(compile("def thrice(number): return 3 * number", "<nowhere>", "exec"), names)
    thrice = kept(names["thrice"])
    assert thrice(1.5) == 4.5
    assert where(thrice) == (
        "kept nowhere: each process compiles it; let NUMBA_CACHE_DIR name a folder that can be written to"
    )


def test_what_can_not_be_written_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    compiled = kept(twice)
    shutil.rmtree(folder)
    folder.write_text("no folder any more")
    assert compiled(1.5) == 3
    assert f"native engine: {folder}" in caplog.text
    assert "code isn't kept there (Not a directory)" in caplog.text
    assert where(compiled).startswith("kept nowhere")


@pytest.mark.parametrize("length", [0, 20])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_code_is_compiled_and_kept_again(
    kind: str, length: int, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept(twice)(1.5) == 3
    (file,) = folder.rglob(f"*.{kind}")
    file.write_bytes(file.read_bytes()[:length])
    compiled = kept(twice)
    assert compiled(1.5) == 3
    assert "code that can't be read" in caplog.text
    assert where(compiled).startswith(f"kept in {folder}")
    last = kept(twice)
    assert last(1.5) == 3
    assert not last.stats.cache_misses
