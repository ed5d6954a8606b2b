"""The page about the images of a set."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards import index, shard, verify
from shards.errors import ShardError
from shards.report import measure

EVIL = '<script>alert("x")</script>&'


def picture(number: int, width: int = 40, height: int = 40, *, is_flat: bool = False) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels[:1, :1].repeat(height, 0).repeat(width, 1) if is_flat else pixels).save(
        file, "PNG"
    )
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = {
        "plain0": (picture(0), 0), "plain1": (picture(1), 1), "twin0": (picture(2), 0),
        "twin1": (picture(2), 1),
        "leak": (picture(3), 0), "flat": (picture(4, is_flat=True), 1), "narrow": (picture(5, width=200), 0),
        "tiny": (picture(6, 5, 5), 1), "none": (b"<html>", 0), f"k{EVIL.replace('/', '')}": (picture(7), 1),
    }  # fmt: skip
    splits = {"train": train, "val": {"leak2": (picture(3), 0), "plain2": (picture(9), 2)}}
    for split, samples in splits.items():
        entries = [shard.Entry(key, "png", *sample) for key, sample in samples.items()]
        made, members = shard.write(tmp_path / f"x-{split}-0000.tar", entries)
        index.save(tmp_path, split, [made], [members], classes=[EVIL, "b", "c"], num_classes=3)
    return tmp_path


class Page(HTMLParser):
    """Headings with the captions below, rows of tables, and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.below: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "h2":
            self.below[data] = []
        elif self._tag == "figcaption":
            self.below[list(self.below)[-1]].append(data)
        elif self._tag in {"td", "th"}:
            self.rows[-1][-1] += data


def test_it_shows_numbers_sizes_faults_and_what_looks_odd(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    path.write_text("an older one")
    (folder / ".page").mkdir()
    with pytest.raises(ShardError, match="2 faults in 2 files"):
        verify.main([str(folder), "--workers=1", f"--report={path}"])
    assert f"written: {path}" in capsys.readouterr().err
    page = Page(path.read_text())
    keys = {head: sorted(re.findall(r"key (\S*?) at", " ".join(said))) for head, said in page.below.items()}
    assert keys["The same bytes in two classes: 2"] == ["twin0", "twin1"]
    assert keys["The same bytes in two splits: 2"] == ["leak", "leak2"]
    assert keys["Of a single colour: 1"] == ["flat"]
    assert keys["More than 4 times as long as wide: 1"] == ["narrow"]
    assert keys["Smaller than 10 pixels, of which others have 4 times as many: 1"] == ["tiny"]
    assert ["all", "10", "2"] in page.rows
    assert [f"0 {EVIL}", "5", "1"] in page.rows
    assert page.rows[-2:] == [["1 b", "5", "0"], ["2 c", "0", "1"]]
    assert ["train: width", "9", "5", "19", "40", "136", "200"] in page.rows
    bad = [row for row in page.rows if row[:2] == ["x-train-0000.tar", "none"]]
    assert "not a readable image" in bad[0][2]
    assert not page.tags & {"script", "link", "iframe"}
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)


def test_a_shard_that_is_not_whole_shows_no_pictures(folder: Path, tmp_path: Path) -> None:
    (folder / "x-train-0000.tar").write_bytes(b"")
    with pytest.raises(ShardError, match="1 faults"):
        verify.main([str(folder), "--workers=1", f"--report={tmp_path / 'page'}"])
    page = Page((tmp_path / "page").read_text())
    assert page.below["Of a single colour: 0"] == []
    assert len(page.below["The same bytes in two splits: 2"]) == 1  # that of the other split


def test_it_needs_the_images(folder: Path) -> None:
    with pytest.raises(ShardError, match="which --quick doesn't read: leave one of them out"):
        verify.main([str(folder), "--quick", "--report=x.html"])


def test_measures() -> None:
    assert measure(np.zeros((2, 3, 3), np.uint8)) == (3, 2, True)
    assert measure(np.arange(18, dtype=np.uint8).reshape(2, 3, 3)) == (3, 2, False)
