from pathlib import Path

import numpy as np
import pytest

from shards.errors import ShardError
from shards.sources.room import check_room
from shards.sources.source import FilePart, ImageFile, Picture, Pixels


def free(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    class Usage:
        free = int(count)

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)


def test_it_is_what_the_files_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 513)
    pictures: list[Picture] = [ImageFile(tmp_path / "a"), FilePart(tmp_path / "a", 0, 512, "b.jpg")]
    needed = (1024 + 3 * 512) + (512 + 3 * 512)
    free(monkeypatch, needed)
    check_room(pictures, tmp_path)
    assert capsys.readouterr().out == ""
    free(monkeypatch, needed - 1)
    with pytest.raises(
        ShardError, match=r"the shards will take 0\.0 GB, the disk has 0\.0 GB free: make room"
    ):
        check_room(pictures, tmp_path)


def test_a_large_set_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [FilePart(tmp_path / "a", 0, 150_016, "b.jpg")] * 1_300_000
    free(monkeypatch, 250e9)
    check_room(pictures, tmp_path)
    assert capsys.readouterr().out == "will take 197.0 GB of the 250.0 GB that are free\n"
    free(monkeypatch, 180e9)
    with pytest.raises(ShardError, match=r"will take 197\.0 GB, the disk has 180\.0 GB free"):
        check_room(pictures, tmp_path)


def test_of_what_is_encoded_on_the_way_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 0)
    check_room([Pixels(np.zeros((4, 4), np.uint8))], tmp_path)
    check_room([], tmp_path)
