import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from shards import index
from shards.errors import ShardError
from shards.reader import Reader


def test_build_makes_the_index_that_the_writer_made(pets_shards: Path) -> None:
    made = {split: (pets_shards / f"index-{split}.json").read_bytes() for split in ("train", "val")}
    rows = (pets_shards / "index-train.npy").read_bytes()
    (pets_shards / "_info.json").unlink()
    index.main([str(pets_shards), "--workers", "2"])
    assert {split: (pets_shards / f"index-{split}.json").read_bytes() for split in made} == made
    assert (pets_shards / "index-train.npy").read_bytes() == rows
    info = json.loads((pets_shards / "_info.json").read_text())
    assert info["splits"]["train"]["shard_lengths"] == [3, 4, 4]


def test_build_reads_what_webdataset_writes(tmp_path: Path) -> None:
    # long keys in folders make extended headers; other members are passed over
    images = [np.random.default_rng(n).integers(0, 256, (8, 8, 3), np.uint8) for n in range(7)]
    with webdataset.ShardWriter(f"{tmp_path}/x-train-%04d.tar", maxcount=3, verbose=0) as sink:
        for number, image in enumerate(images):
            key = f"folder.with.dots/{'k' * 90}/{'y' * 90}{number}"
            sink.write({"__key__": key, "png": image, "cls": number, "json": {"n": number}})
    with webdataset.TarWriter(str(tmp_path / "x-validation-0.tar")) as sink:
        sink.write({"__key__": "a", "txt": "no sample"})
        sink.write({"__key__": "b", "cls": 1, "jpg": images[0]})
    train, val = index.build(tmp_path, {}, workers=1)
    assert (train.split, train.shard_lengths, train.num_classes) == ("train", (3, 3, 1), 7)
    assert train.classes is None
    assert (val.split, val.num_samples, val.num_classes) == ("val", 1, 7)
    reader = Reader(train)
    for number, image in enumerate(images):
        data, label = reader.read(number)
        assert (np.asarray(Image.open(io.BytesIO(data))) == image).all()
        assert label == number


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_build_reads_long_names(tmp_path: Path, form: int) -> None:
    member = tmp_path / "data.txt"
    with tarfile.open(tmp_path / "x-train-0.tar", "w", format=form, pax_headers={"comment": "c"}) as archive:
        archive.add(tmp_path, "a folder", recursive=False)
        for number in range(2):
            for extension, text in (("jpg", "image"), ("cls", f"{number}\n")):
                member.write_text(text)
                archive.add(member, f"{'k' * 150}ä{number}.{extension}")
    (train,) = index.build(tmp_path, {}, workers=1)
    assert [Reader(train).read(n) for n in range(2)] == [(b"image", 0), (b"image", 1)]


def test_build_takes_splits_from_info(pets_shards: Path) -> None:
    info = {"train": {"filenames": ["b.tar", "a.tar"]}, "validation": {"filenames": ["c.tar"]}}
    folder = pets_shards / "renamed"
    folder.mkdir()
    for old, new in (("train-0000", "a"), ("train-0001", "b"), ("val-0000", "c")):
        shutil.copy(pets_shards / f"pets-{old}.tar", folder / f"{new}.tar")
    (folder / "_info.json").write_text(json.dumps({"splits": info}))
    train, val = index.build(folder, {}, workers=1)
    assert [path.name for path in train.paths] == ["b.tar", "a.tar"]
    assert val.split == "val"
    renewed = json.loads((folder / "_info.json").read_text())["splits"]
    assert renewed["train"] == {
        "name": "train",
        "filenames": ["b.tar", "a.tar"],
        "num_samples": 7,
        "shard_lengths": [4, 3],
    }
    assert renewed["validation"]["num_samples"] == renewed["val"]["num_samples"] == 4
    (folder / "b.tar").unlink()
    with pytest.raises(ShardError, match=r"b\.tar: missing, though _info\.json names it"):
        index.build(folder, {}, workers=1)
    (folder / "_info.json").write_text('{"splits": {"train": {"filenames": ["../a.tar"]}}}')
    with pytest.raises(ShardError, match=r"names \.\./a\.tar: the shards must lie in this folder or below"):
        index.build(folder, {}, workers=1)
    (folder / "_info.json").write_text("{}")
    with pytest.raises(ShardError, match=r"_info\.json: no splits with filenames"):
        index.build(folder, {}, workers=1)


def test_build_takes_splits_as_told(pets_shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pets_shards / "renamed"
    folder.mkdir()
    for number in range(2):
        shutil.copy(pets_shards / f"pets-train-000{number}.tar", folder / f"part{number}.tar")
    with pytest.raises(ShardError, match=r"which of its 2 tar files .* --split train=GLOB --split val=GLOB"):
        index.main([str(folder)])
    with pytest.raises(ShardError, match="split val has no tar files: say which with --split val=GLOB"):
        index.main([str(folder), "--split", "train=part0*", "--split", "val=x*"])
    with pytest.raises(ShardError, match=r"part1\.tar is in two splits"):
        index.main([str(folder), "--split", "train=*", "--split", "val=*1.tar"])
    index.main([str(folder), "--split", "train=part0*", "--split", "val=*1.tar"])
    assert "val: 4 samples, 2 classes, 1 shards" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        index.main([str(folder), "--split", "train"])
    assert "write it as split=GLOB" in capsys.readouterr().err


def test_build_of_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="holds no shards: write some with"):
        index.build(tmp_path, {}, workers=1)
