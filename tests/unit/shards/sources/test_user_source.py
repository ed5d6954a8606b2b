from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from unit.shards.user_class.test_modules import write

from shards import write as command
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources.user_source import user_source

TEXT = """
from pathlib import Path
import numpy as np
class Mine:
    classes = ("dark", "bright")
    def __init__(self, source):
        self.count = int(source)
    def images(self, split):
        for number in range(self.count):
            yield np.full((4, 6, 3), 200 * (number % 2), np.uint8), number % 2
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_shards_of_a_class(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, lab_source=TEXT)
    command.main(["lab_source.Mine", "5", "out", "--workers", "1"])
    assert "mine: 5 train + 5 val images, 2 classes" in capsys.readouterr().out
    index = Index.load(here / "out", "train")
    assert (index.num_samples, index.classes) == (5, ("dark", "bright"))
    labels = sorted(Reader(index).read(number).label for number in range(5))
    assert labels == [0, 0, 0, 1, 1]
    command.main(["lab_source.Mine", "5", "out", "--workers", "1"])
    assert "2 of 2 shards were there already, whole" in capsys.readouterr().out


def test_image_files_are_copied(here: Path, image_folder: Path) -> None:
    body = '        yield from ((path, 0) for path in sorted(Path(self.source).glob(f"{split}/*/*")))\n'
    init = "        self.source = source\n    def images(self, split):\n"
    write(here, lab_files=TEXT[: TEXT.index("        self.count")] + init + body)
    source = user_source("lab_files.Mine", str(image_folder))
    assert [len(source.splits[split].labels) for split in ("train", "val")] == [11, 4]
    first = sorted((image_folder / "train" / "cat").iterdir())[0]
    assert source.splits["train"].pictures[0].encode()[1] == first.read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "% 2), np.uint8), number % 2",
            "% 2), np.uint8), 2",
            r"its class must be a number below 2 \(got 2\)",
        ),
        ("np.uint8", "np.float32", r"must be a path, or pixels, uint8 .* \(got float32 \[4, 6, 3\]\)"),
        ("np.full((4, 6, 3), 200 * (number % 2), np.uint8)", "'none.jpg'", "no file 'none.jpg'"),
        ("range(self.count)", "range(0)", r"images\('train'\) yields nothing"),
        ("range(self.count)", "range(1 // 0)", r"line 9: ZeroDivisionError"),
        ("def images", "def pictures", r"no source of images without def images\(self, split\)"),
        ('("dark", "bright")', '("dark", "dark")', r"classes must be names, each once"),
        ("(self, source)", "(self)", r"Mine must be built with source: def __init__\(self, source\)"),
    ],
)
def test_what_is_no_source(here: Path, before: str, after: str, message: str) -> None:
    name = f"lab_no_{abs(hash((before, after)))}"
    assert before in TEXT
    write(here, **{name: TEXT.replace(before, after)})
    with pytest.raises(ShardError, match=message) as told:
        user_source(f"{name}.Mine", "5")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lab/sources.py", "the dotted path of a class: lab.sources.CLASS"),
        ("fashion_mnits", "did you mean fashion_mnist?"),
        ("nowhere_at_all.Mine", "no module 'nowhere_at_all'"),
    ],
)
def test_a_wrong_name(word: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((SystemExit, ShardError)) as told:
        command.main([word, "auto", os.devnull + "-not"])
    assert message in str(told.value) + capsys.readouterr().err
