import gzip
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes
from object_store import http
from PIL import Image

from shards import write
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources import fashion_mnist as fashion
from shards.sources.fashion_mnist import fashion_mnist

TRAIN_IDENTITY = "e772361c93d253473ff138ca44605ffeccd58399228411976ab389502662c9ec"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def small_fashion(tmp_path: Path) -> Path:
    """20 + 10 images of noise in the form of Fashion-MNIST, the labels of train not packed."""
    folder = tmp_path / "source" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for split, count in (("train", 20), ("t10k", 10)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        labels = idx_bytes(np.arange(count, dtype=np.uint8) % 10)
        plain = folder / f"{split}-labels-idx1-ubyte"
        if split == "train":
            plain.write_bytes(labels)
        else:
            plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(labels))
    return tmp_path / "source"


def test_fashion_mnist(small_fashion: Path, tmp_path: Path) -> None:
    write.main(["fashion_mnist", str(small_fashion), str(tmp_path / "out"), "--shard-samples", "7"])
    index = Index.load(tmp_path / "out", "train")
    assert index.classes == fashion.CLASSES
    assert index.shard_lengths == (6, 7, 7)
    reader = Reader(index)
    images = np.random.default_rng(20).integers(0, 256, (20, 28, 28), np.uint8)
    for sample in range(20):
        data, label = reader.read(sample)
        number = int(reader.key(sample).removeprefix("train-"))
        assert label == number % 10
        assert (pixels(data) == np.pad(images[number], 2)).all()


def test_fashion_mnist_sizes(small_fashion: Path) -> None:
    assert pixels(fashion_mnist(str(small_fashion), 28).splits["val"].pictures[0].encode()[1]).shape == (
        28,
        28,
    )
    for size in (26, 33):
        with pytest.raises(
            ShardError, match=f"can't be padded evenly to {size}x{size}: take --size 28 or 32"
        ):
            fashion_mnist(str(small_fashion), size)


def test_fashion_mnist_refuses_labels_that_do_not_fit(small_fashion: Path) -> None:
    path = small_fashion / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte"
    for labels in (np.zeros(19, np.uint8), np.full(20, 10, np.uint8)):
        path.write_bytes(idx_bytes(labels))
        with pytest.raises(ShardError, match=r"20 train images, \d+ train labels up to"):
            fashion_mnist(str(small_fashion), 32)


def test_fashion_mnist_shards_are_the_real_ones(fashion_mnist_shards: Path) -> None:
    for split, each in (("train", 6000), ("val", 1000)):
        index = Index.load(fashion_mnist_shards, split)
        assert np.bincount(index.labels).tolist() == [each] * 10
        assert pixels(Reader(index).read(0).data).shape == (32, 32)


def test_fashion_mnist_auto_takes_the_first_place_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(url: str, *_: object) -> None:
        raise ShardError(f"{url}: can't be fetched (no network)")

    monkeypatch.setattr(fashion, "download", fail)
    source = fashion_mnist("auto", 32)
    said = capsys.readouterr().out
    url = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    assert said.startswith(
        f"not from {url}: {url}/train-images-idx3-ubyte.gz: can't be fetched (no network)\n"
    )
    assert said.endswith(f"from {source.origin}\n")
    assert source.splits["train"].identity == TRAIN_IDENTITY


def test_fashion_mnist_is_downloaded(small_fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small_fashion / "FashionMNIST" / "raw"
    plain = files / "train-labels-idx1-ubyte"
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    monkeypatch.setattr(fashion, "_MD5", {name: md5(files / name) for name in fashion._MD5})
    with http(files) as served:
        monkeypatch.setattr(fashion, "_URL", served.url)
        source = fashion_mnist("auto", 32)
    assert (source.origin, len(source.splits["train"].labels)) == (served.url, 20)


def test_fashion_mnist_auto_gives_every_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fashion, "_URL", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr(fashion, "_INSTALLED", (tmp_path / "none").relative_to("/"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ShardError) as caught:
        fashion_mnist("auto", 32)
    message = str(caught.value)
    assert "http://127.0.0.1:9/train-images-idx3-ubyte.gz: can't be fetched (" in message
    assert (
        f"{tmp_path}/none: none of the files train-images-idx3-ubyte[.gz] and its three companions" in message
    )
    assert "No such file or directory: 'apt-get'; get train-images" in message
