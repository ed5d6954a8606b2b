import gc
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
from durations import (  # noqa: F401 - hooks
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_logreport,
    pytest_sessionfinish,
)
from filelock import FileLock
from PIL import Image

from shards import index, write
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources.imagefolder import imagefolder

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads would wait for each other
# where a script began the tests in its background Ctrl-C is ignored, with nohup SIGHUP: both are inherited
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
gc.disable()  # until all tests are found: what is imported stays


def pytest_collection_finish() -> None:
    """Have no garbage collection look through all tests and torch's modules again."""
    gc.freeze()
    gc.enable()


def _whole(folder: Path) -> bool:
    try:
        return [Index.load(folder, split).num_samples for split in ("train", "val")] == [60_000, 10_000]
    except ShardError:
        return False


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is remembered from one process to the next; not the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def nothing_ends_this_process_later() -> Iterator[None]:
    """Fail a test that leaves a thread which ends its process: the watchdog's would, ten minutes later."""
    yield
    left = {thread.name for thread in threading.enumerate()} & {"watchdog", "peers", "follow"}
    assert not left, f"threads that end this process: {left}"


@pytest.fixture(scope="session")
def fashion_mnist_shards(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the real data set: the project's own if it is whole, else written once for all tests."""
    own = ROOT / "data" / "fashion_mnist"
    if _whole(own):
        return own
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "fashion_mnist"
    with FileLock(f"{folder}.lock"):
        if not _whole(folder):
            write.main(["fashion_mnist", "auto", str(folder)])
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two classes of tiny images, 11 to train on (jpg and png) and 4 to validate with."""
    source = tmp_path / "pets"
    for split, counts in {"train": (5, 6), "val": (2, 2)}.items():
        for name, count in zip(("cat", "dog"), counts, strict=True):
            folder = source / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                extension = ("JPEG", "png")[number % 2]
                pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}.{number}.{extension}")
    return source


@pytest.fixture
def pets_shards(image_folder: Path, tmp_path: Path) -> Path:
    """The shards of `image_folder`: train of 3, 4 and 4 samples, val of 4."""
    out = tmp_path / "shards"
    write.write(imagefolder(image_folder), out, shard_samples=4, seed=0, workers=0)
    return out


@pytest.fixture(scope="session")
def few_images(fashion_mnist_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 120 images to train on, in three shards, and 50 to validate with, of the real data set."""
    return _first(fashion_mnist_shards, tmp_path_factory.mktemp("tiny"), train=120, per_shard=40)


@pytest.fixture(scope="session")
def some_images(fashion_mnist_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 4000 to train on, so that an evaluation is rare, and 50 to validate with."""
    return _first(fashion_mnist_shards, tmp_path_factory.mktemp("small"), train=4000, per_shard=1000)


def _first(shards: Path, folder: Path, train: int, per_shard: int) -> Path:
    for split, count in {"train": train, "val": 50}.items():
        reader = Reader(Index.load(shards, split))
        pattern = f"{folder}/tiny-{split}-%04d.tar"
        with webdataset.ShardWriter(pattern, maxcount=per_shard, verbose=0) as writer:
            for number in range(count):
                image = reader.read(number)
                writer.write({"__key__": f"{split}{number:04d}", "png": image.data, "cls": image.label})
    index.main([str(folder)])
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, to be filled."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows a home folder: HOME isn't set, and the user's id has no name."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
