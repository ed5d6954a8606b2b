import multiprocessing
import os
import pickle
import tarfile
import threading
from pathlib import Path

import pytest

from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader


@pytest.fixture
def reader(pets_shards: Path) -> Reader:
    return Reader(Index.load(pets_shards, "train"))


def test_reads_what_tarfile_reads(fashion_mnist_shards: Path) -> None:
    index = Index.load(fashion_mnist_shards, "val")
    reader = Reader(index, open_files=2)
    sample = 0
    for path in index.paths:
        with tarfile.open(path) as archive:
            members = [(member.name, archive.extractfile(member).read()) for member in archive]
        for (name, data), (_, label) in zip(members[::2], members[1::2], strict=True):
            assert reader.read(sample) == (data, int(label))
            assert reader.key(sample) == name.removesuffix(".png")
            sample += 1
    assert sample == index.num_samples == 10_000


def test_says_where(reader: Reader) -> None:
    path = reader.index.paths[1]
    offset = reader.index.offsets[4]
    assert reader.where(4) == f"{path}: key {reader.key(4)} at byte {offset}"


def test_no_such_sample(reader: Reader) -> None:
    for sample in (-1, 11):
        with pytest.raises(IndexError, match=f"sample {sample}: split train has 11"):
            reader.read(sample)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts the descriptor it opens, both times


def test_keeps_few_files_open_and_closes_them(pets_shards: Path) -> None:
    index = Index.load(pets_shards, "train")
    before = open_files()
    reader = Reader(index, open_files=2)
    for sample in [*range(11), *range(11)]:
        reader.read(sample)
        assert open_files() - before <= 3  # two, and the rows
    del reader
    assert open_files() - before <= 1


def test_pickled_and_forked_copies_read(reader: Reader) -> None:
    expected = [reader.read(sample) for sample in range(11)]
    copy = pickle.loads(pickle.dumps(reader))  # noqa: S301
    assert [copy.read(sample) for sample in range(11)] == expected
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(reader.read, range(11), chunksize=1) == expected
            pool.close()
            pool.join()


def test_threads_read(fashion_mnist_shards: Path) -> None:
    reader = Reader(Index.load(fashion_mnist_shards, "train"), open_files=2)
    failures = []

    def read(start: int) -> None:
        try:
            for sample in range(start, 60_000, 101):
                reader.read(sample)  # checks every byte it returns
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_truncated_since(reader: Reader) -> None:
    path = reader.index.paths[0]
    offset = int(reader.index.offsets[2])
    path.write_bytes(path.read_bytes()[: offset + 10])
    size = int(reader.index.sizes[2])
    with pytest.raises(
        ShardError, match=f"0000.tar: image of {size} bytes at byte {offset} ends {size - 10} bytes"
    ):
        reader.read(2)
    path.write_bytes(b"")
    with pytest.raises(ShardError, match=r"0000\.tar: bad header at byte .* \(empty header\)"):
        reader.key(2)


def test_flipped_bit(reader: Reader) -> None:
    path = reader.index.paths[2]
    data = bytearray(path.read_bytes())
    data[int(reader.index.offsets[-1]) + 30] ^= 4
    path.write_bytes(data)
    assert reader.read(9)
    with pytest.raises(
        ShardError, match=r"0002\.tar: image of .* its bytes changed since it was indexed: copy"
    ):
        reader.read(10)
