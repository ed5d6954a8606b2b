"""File systems that fail, files that change while they are read, and folders that can't be written to."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards import command, index, reader, shard, tar, verify, workers
from shards.errors import BadSampleError, ShardError
from shards.files import regular_file
from shards.index import Index
from shards.reader import Reader

Act = Callable[[Path], None]
IMAGE = b"P6 1 1 255\nrgb"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    (tmp_path / "shards").mkdir()
    for split in ("train", "val"):
        entries = [shard.Entry(f"{split}{n}", "ppm", IMAGE + f"{split}{n}".encode(), n) for n in range(2)]
        shard.write(tmp_path / "shards" / f"x-{split}-0000.tar", entries)
    index.build(tmp_path / "shards", {}, workers=0)
    return tmp_path / "shards"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - tar.BLOCK)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(tar.BLOCK)
        file.write(b"P5")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # a clock may be coarse


def replace(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("act", [truncate, append, write_over, replace, Path.unlink])
def test_a_shard_that_changes_while_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    before, members = (folder / "index-train.json").read_bytes(), tar.members

    def changing(*words: Any) -> Any:
        for number, member in enumerate(members(*words)):
            if number == 1 and "x-train" in words[1]:
                act(folder / "x-train-0000.tar")
            yield member

    monkeypatch.setattr(tar, "members", changing)
    said = "No such file" if act is Path.unlink else "was changed while it was read: once nobody"
    with pytest.raises((ShardError, FileNotFoundError), match=said):
        index.build(folder, {}, workers=0)
    assert (folder / "index-train.json").read_bytes() == before
    if act is not Path.unlink:
        (fault,) = verify.verify(folder, quick=True, workers=0)[0]
        assert (fault.file, said in fault.what) == ("x-train-0000.tar", True)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_file_system_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr(reader, "PAUSES_S", (0.0, 0.0))
    pread, faults = os.pread, [OSError(number, os.strerror(number))] * 2

    def failing(*words: Any) -> bytes:
        if faults:
            raise faults.pop()
        return pread(*words)

    monkeypatch.setattr(os, "pread", failing)
    with caplog.at_level(logging.WARNING):
        assert Reader(Index.load(folder, "train")).read(1) == (IMAGE + b"train1", 1)
    assert f"x-train-0000.tar: can't be read ({os.strerror(number)}); trying again" in caplog.text
    faults += [OSError(number, os.strerror(number))] * 3
    with pytest.raises(ShardError, match="3 times tried: the file system failed, which says") as found:
        Reader(Index.load(folder, "train")).read(1)
    assert not isinstance(found.value, BadSampleError)  # no other image takes its place

    def broken(path: Path) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(shard, "open_file", broken)
    faults_of = [fault.what for fault in verify.verify(folder, quick=True, workers=0)[0]]
    assert faults_of == [f"can't be read: {os.strerror(number)}: {regular_file.FAILED}"] * 2
    monkeypatch.setattr(verify, "run", lambda function, tasks, _: workers.run(function, tasks, 0))
    with pytest.raises(
        ShardError, match="nothing was repaired: 2 shards could not be read, and may be whole"
    ):
        verify.main([str(folder), "--repair"])
    assert Index.record(folder, "train").num_samples == 2
    with pytest.raises(OSError, match=os.strerror(number)) as refused:
        index.build(folder, {}, workers=0)
    assert command.explain(refused.value) == (
        f"{folder}/x-train-0000.tar: {os.strerror(number)}: {regular_file.FAILED}"
    )


def test_a_shard_that_is_gone_is_no_bad_sample(folder: Path) -> None:
    found = Reader(Index.load(folder, "train"))
    (folder / "x-train-0000.tar").unlink()
    with pytest.raises(ShardError, match=r"x-train-0000\.tar: can't be read \(No such file") as refused:
        found.read(0)
    assert not isinstance(refused.value, BadSampleError)


def test_shards_of_somebody_else_are_indexed_through_links(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: path != folder and access(path, how))
    with pytest.raises(ShardError, match=r"can't be written to by you.* with links to the shards in it"):
        index.build(folder, {}, workers=0)
    (tmp_path / "mine").mkdir()
    for path in folder.glob("*.tar"):
        (tmp_path / "mine" / path.name).symlink_to(path)
    made = index.build(tmp_path / "mine", {}, workers=0)
    assert [Reader(one).read(1).label for one in made] == [1, 1]
    assert not verify.verify(tmp_path / "mine", quick=False, workers=0)[0]


def test_a_folder_that_can_not_be_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refused)
    for ask in (verify.splits, lambda folder: index.build(folder, {}, workers=0)):
        with pytest.raises(PermissionError, match=str(folder)):
            ask(folder)


def test_an_index_outlives_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shard.write(
        folder / "x-val-0000.tar", [shard.Entry("new", "ppm", IMAGE, 0), shard.Entry("n", "ppm", IMAGE, 1)]
    )

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left on device.*/index-train"):
            index.build(folder, {}, workers=0)
    assert {name for name, data in before.items() if (folder / name).read_bytes() != data} == {
        "x-val-0000.tar"
    }
    assert {path.name for path in folder.iterdir()} == {*before}
