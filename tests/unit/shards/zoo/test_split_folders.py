"""A folder for each split, numbered shards, names beside them: as clip_benchmark leaves its sets."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from shards import index, verify
from shards.errors import ShardError
from shards.ignored import Ignored
from shards.index import Index
from shards.reader import Reader
from shards.shard import Shard


def image_of(split: str, number: int) -> np.ndarray:
    return np.full((8, 8, 3), number + 100 * (split == "test"), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in (("train", 25), ("test", 5)):
        (tmp_path / split).mkdir()
        with webdataset.ShardWriter(f"{tmp_path}/{split}/%d.tar", maxcount=2, verbose=0) as sink:
            for number in range(count):
                file = io.BytesIO()
                Image.fromarray(image_of(split, number)).save(file, "WEBP", lossless=True)
                sink.write({"__key__": f"s{number:07d}", "webp": file.getvalue(), "cls": number % 5})
        (tmp_path / split / "nshards.txt").write_text(f"{-(-count // 2)}\n")
    (tmp_path / "classnames.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    (tmp_path / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\n")
    (tmp_path / ".gitattributes").write_text("*.tar filter=lfs\n")
    return tmp_path


def test_it_is_indexed_verified_and_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index.main([str(folder), "--workers=1"])
    assert "not taken: 3 named *.txt, say test/nshards.txt" in capsys.readouterr().out
    for split, theirs, count in (("train", "train", 25), ("val", "test", 5)):
        found = Index.load(folder, split)
        assert found.classes == ("ant", "bee", "cat", "dog", "elk")
        reader, seen = Reader(found), set()
        assert {path.parent.name for path in found.paths} == {theirs}
        for sample in range(found.num_samples):
            data, label = reader.read(sample)
            value = int(np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0])
            number = int(reader.key(sample)[1:])
            assert (value, label) == (int(image_of(theirs, number)[0, 0, 0]), number % 5)
            seen.add(number)
        assert seen == set(range(count))
    assert not verify.verify(folder, quick=False, workers=0)[0]  # though both splits number keys from 0
    assert [one.samples for one in Index.load(folder, "val").shards] == [2, 2, 1]
    names = json.loads((folder / "_info.json").read_text())["splits"]["validation"]["filenames"]
    assert names == ["test/0.tar", "test/1.tar", "test/2.tar"]  # as timm finds them
    before = (folder / "index-train.json").read_bytes()
    index.main([str(folder), "--workers=1"])  # with _info.json now
    assert (folder / "index-train.json").read_bytes() == before


LOST: dict[str, tuple[Callable[[Path], object], str]] = {
    "a gap": (lambda folder: (folder / "train" / "3.tar").unlink(), r"2 entries .*train/nshards\.txt \(says "
              r"'13' shards, 12 are there\), train/3\.tar \(missing, though"),
    "the last one": (lambda folder: (folder / "test" / "2.tar").unlink(), "says '3' shards, 2 are there"),
    "an odd file": (lambda folder: (folder / "test" / "x.csv").touch(), r"test/x\.csv \(no tar file\)"),
    "compressed": (lambda folder: (folder / "test" / "3.tar.gz").touch(), r"test/3\.tar\.gz \(compressed"),
    "a folder within": (lambda folder: (folder / "test" / "more").mkdir(), r"test/more \(a folder\)"),
    "a folder beside": (lambda folder: (folder / "more").mkdir(), r"more \(a folder\)"),
    "a split without shards": (lambda folder: (folder / "val").mkdir(), r"val \(a folder\)"),
    "a copy": (lambda folder: (folder / "test" / "0.tar").write_bytes((folder / "train/0.tar").read_bytes()),
               r"train/0\.tar: the same bytes as test/0\.tar: .*--skip train/0\.tar"),
    "a second one to validate with": (lambda folder: (folder / "test").rename(folder / "val") and (
        (folder / "test").mkdir(), (folder / "test" / "0.tar").touch()), r"test \(a folder\)"),
    "too few names": (lambda folder: (folder / "classnames.txt").write_text("ant\nbee\n"),
                      "of class 4, but there are names of 2 classes only"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_what_would_be_lost_is_named(name: str, folder: Path) -> None:
    change, said = LOST[name]
    change(folder)
    with pytest.raises(ShardError, match=said) as caught:
        index.build(folder, {}, workers=0)
    if "--skip " in str(caught.value):
        skip = [word.rpartition("--skip ")[2] for word in str(caught.value).split(" --skip ")[1:]]
        index.build(folder, {}, workers=0, ignored=Ignored(skip))
        assert not verify.verify(folder, quick=True, workers=0)[0]


def test_patterns_say_which_is_which(folder: Path) -> None:
    (folder / "test").rename(folder / "odd")
    train, val = index.build(folder, {"train": "train/*.tar", "val": "o*/*.tar"}, workers=0)
    assert (train.num_samples, val.num_samples) == (25, 5)
    assert Index.load(folder, "val").shards[0].file == "odd/0.tar"
    (folder / "odd" / "0.tar").write_bytes(b"")
    with pytest.raises(ShardError, match=r"odd/0\.tar: has 0 bytes, the index says"):
        Index.load(folder, "val")
    (folder / "odd" / "0.tar").unlink()
    with pytest.raises(ShardError, match=r"odd/0\.tar: this shard is missing"):
        Index.load(folder, "val")
    found = verify.verify(folder, quick=True, workers=0)[0]
    assert [fault.file for fault in found] == ["odd/0.tar", "odd/nshards.txt"]


@pytest.mark.parametrize("file", ["/a.tar", "../a.tar", "a/../../b.tar", "a//b.tar", "./a.tar", "a\0.tar"])
def test_a_shard_lies_nowhere_else(file: str) -> None:
    with pytest.raises(TypeError, match="no shard"):
        Shard(file, 1, 1, "")
