import os
from pathlib import Path

import pytest

from shards.errors import ShardError
from shards.ignored import Ignored
from shards.sources import listing


def test_folders_and_links_to_them(tmp_path: Path) -> None:
    for name in ("b", "a", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "c").symlink_to(tmp_path / "a")
    (tmp_path / "dead").symlink_to("/nonexistent")
    (tmp_path / "stray.jpg").touch()
    ignored = Ignored()
    assert listing.folders(tmp_path, tmp_path, ignored) == ["a", "b", "c"]
    assert ignored.refused == (("dead", "a link to nothing"), ("stray.jpg", "not in a class folder"))
    assert ignored.total == 1


def test_images_at_any_depth_files_first(tmp_path: Path) -> None:
    for name in ("z.jpg", "sub/b.TIF", "sub/deep/a.gif", "dir.jpg/x.bmp", "y.jfif"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "dead.jpg").symlink_to("/nonexistent")
    (tmp_path / "x.csv").touch()
    ignored = Ignored()
    found = [str(path.relative_to(tmp_path)) for path in listing.images(tmp_path, tmp_path, ignored)]
    assert found == ["y.jfif", "z.jpg", "dir.jpg/x.bmp", "sub/b.TIF", "sub/deep/a.gif"]
    assert dict(ignored.refused) == {
        "dead.jpg": "a link to nothing",
        "fifo.jpg": "no file",
        "x.csv": "no image: .csv",
    }


def test_a_link_that_leads_back(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "back").symlink_to(tmp_path)
    with pytest.raises(ShardError, match="sub/back: a link that leads back"):
        list(listing.images(tmp_path, tmp_path, Ignored()))
