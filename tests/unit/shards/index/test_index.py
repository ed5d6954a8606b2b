import dataclasses
import json
import pickle
import re
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from shards import index
from shards.errors import ShardError
from shards.index import Index
from shards.index import index as loaded
from shards.reader import Reader
from shards.shard import MEMBER, Shard


def refuse(folder: Path, *words: str, split: str = "train") -> None:
    with pytest.raises(ShardError) as caught:
        Index.load(folder, split)
    for word in words:
        assert word in str(caught.value)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_round_trip(pets_shards: Path) -> None:
    train = Index.load(pets_shards, "train")
    assert train.shard_lengths == (3, 4, 4)
    assert train.num_samples == 11
    assert train.classes == ("cat", "dog")
    assert train.num_classes == 2
    assert sorted(train.labels.tolist()) == [0] * 5 + [1] * 6
    assert [path.name for path in train.paths] == [f"pets-train-000{n}.tar" for n in range(3)]
    for path, rows in zip(train.paths, np.split(train.members, [3, 7]), strict=True):
        with tarfile.open(path) as archive:
            images = [member for member in archive if not member.name.endswith(".cls")]
        assert rows["offset"].tolist() == [member.offset_data for member in images]
        assert rows["size"].tolist() == [member.size for member in images]
    assert Index.load(str(pets_shards), "val").num_samples == 4


def test_rows_are_mapped_read_only_and_not_pickled(pets_shards: Path) -> None:
    train = Index.load(pets_shards, "train")
    assert not train.members.flags.writeable
    small = pickle.dumps(train)
    assert train.members.tobytes() not in small
    copy = pickle.loads(small)  # noqa: S301
    assert copy == train
    assert (copy.members == train.members).all()


def test_fingerprint_is_of_names_lengths_and_digests_in_order(pets_shards: Path) -> None:
    shards = Index.load(pets_shards, "train").shards
    others = [
        shards[::-1],
        shards[:-1],
        (dataclasses.replace(shards[0], file="other.tar"), *shards[1:]),
        (dataclasses.replace(shards[0], samples=5), *shards[1:]),
        (dataclasses.replace(shards[0], sha256="0" * 64), *shards[1:]),
    ]
    prints = [index.fingerprint(some) for some in (shards, *others)]
    assert len(set(prints)) == len(prints)
    assert index.fingerprint([Shard("a.tar", 2, 10, "ff")]) == PINNED


def test_missing_folder(tmp_path: Path) -> None:
    refuse(tmp_path / "no", "no: no such folder", "python -m shards.write KIND SOURCE")


def test_empty_folder(tmp_path: Path) -> None:
    refuse(tmp_path, "holds no shards", f"python -m shards.write KIND SOURCE {tmp_path}")


def test_missing_index(pets_shards: Path) -> None:
    (pets_shards / "index-val.json").unlink()
    refuse(pets_shards, "no index of split 'val', only of train", split="val")
    (pets_shards / "index-train.json").unlink()
    refuse(pets_shards, "holds 4 tar files but no index", f"python -m shards.index {pets_shards}")


def test_missing_shard(pets_shards: Path) -> None:
    (pets_shards / "pets-train-0001.tar").unlink()
    refuse(pets_shards, "pets-train-0001.tar: this shard is missing", "copy or write it again")
    assert Index.load(pets_shards, "val").num_samples == 4


def test_shard_of_other_size(pets_shards: Path) -> None:
    path = pets_shards / "pets-train-0002.tar"
    path.write_bytes(path.read_bytes()[:-1])
    refuse(pets_shards, "pets-train-0002.tar: has 10239 bytes, the index says 10240", "shards.index")


def test_other_version(pets_shards: Path) -> None:
    edit(pets_shards / "index-train.json", version=3)
    refuse(pets_shards, "has version 3, this program reads version 2", "python -m shards.index")


def test_damaged_index(pets_shards: Path) -> None:
    path = pets_shards / "index-train.json"
    whole = path.read_text()
    for text in ("", "[]", whole[:-9], json.dumps({"version": 2}), whole.replace('"bytes"', '"bites"')):
        path.write_text(text)
        refuse(pets_shards, "index-train.json: damaged", "python -m shards.index")
    path.write_text(whole.replace('"samples": 3', '"samples": 5', 1))
    refuse(pets_shards, "damaged (fingerprint)")


def test_damaged_rows(pets_shards: Path) -> None:
    path = pets_shards / "index-train.npy"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1  # a class
    path.write_bytes(data)
    refuse(pets_shards, "index-train.npy: missing or damaged", "python -m shards.index")
    path.write_bytes(data[:-20])
    refuse(pets_shards, "index-train.npy: missing or damaged")
    path.unlink()
    refuse(pets_shards, "index-train.npy: missing or damaged")


def test_the_rows_of_a_large_split_are_checked_as_they_are_read(
    pets_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded, "_CHECKED_AT_ONCE", 0)
    path = pets_shards / "index-train.npy"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1  # a class in the last shard
    path.write_bytes(data)
    reader = Reader(Index.load(pets_shards, "train"))
    reader.read(0)
    with pytest.raises(ShardError, match=r"index-train\.npy: missing or damaged"):
        reader.read(reader.index.num_samples - 1)


def test_save_refuses_a_class_too_many(tmp_path: Path) -> None:
    rows = np.array([(0, 1, 3, 0)], MEMBER)
    shard = Shard("a.tar", 1, 1, "")
    with pytest.raises(ShardError, match="a sample of class 3, but there are only 3 classes"):
        index.save(tmp_path, "train", [shard], [rows], classes=None, num_classes=3)
    with pytest.raises(ShardError, match=re.escape("split 'train' has no samples")):
        index.save(tmp_path, "train", [], [], classes=None, num_classes=3)
    assert list(tmp_path.iterdir()) == []


def test_loading_is_fast(fashion_mnist_shards: Path) -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        Index.load(fashion_mnist_shards, "train")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05


PINNED = "e7564cdfdc69fecc763ca66fa3320f0bccceed82bdbbb050d04843797ee36d89"


def test_an_index_knows_its_split(pets_shards: Path) -> None:
    """Else validation images would be trained on."""
    for extension in ("json", "npy"):
        shutil.copy(pets_shards / f"index-val.{extension}", pets_shards / f"index-train.{extension}")
    refuse(pets_shards, "index-train.json: is the index of split 'val'", "python -m shards.index")
    index.main([str(pets_shards)])
    assert Index.load(pets_shards, "train").num_samples == 11


def test_a_shard_that_may_not_be_read(pets_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, _mode: path.name != "pets-train-0001.tar")  # root may
    refuse(pets_shards, "pets-train-0001.tar: can't be read by you")
    Index.load(pets_shards, "val")
