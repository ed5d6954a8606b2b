import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from object_store import http
from PIL import Image

from shards import write
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.sources import cifar10 as cifar
from shards.sources import fashion_mnist as fashion
from shards.sources import idx
from shards.sources.cifar10 import cifar10
from shards.sources.fashion_mnist import fashion_mnist
from shards.sources.imagefolder import imagefolder, imagenet


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


# --- image folders


def test_imagefolder(image_folder: Path) -> None:
    source = imagefolder(image_folder)
    assert source.name == "pets"
    assert source.classes == ("cat", "dog")
    assert source.splits["train"].labels == [0] * 5 + [1] * 6
    assert [picture.encode()[0] for picture in source.splits["val"].pictures] == ["jpg", "png"] * 2


def test_imagefolder_says_what_it_passes_over(image_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = image_folder / "train" / "cat"
    for name in ("list.txt", ".hidden"):
        (folder / name).write_text("")
    assert len(imagefolder(image_folder).splits["train"].labels) == 11
    assert (
        f"note: 1 entries of {image_folder}/train are no images, say {folder}/list.txt"
        in capsys.readouterr().err
    )


def test_imagefolder_refuses_other_classes_in_val(image_folder: Path) -> None:
    (image_folder / "val" / "cow").mkdir()
    with pytest.raises(ShardError, match="1 classes are in val but not in train, say 'cow'"):
        imagefolder(image_folder)
    (image_folder / "val" / "cow").rmdir()
    (image_folder / "val" / "dog").rename(image_folder / "dog")
    with pytest.raises(ShardError, match="1 classes are in train but not in val, say 'dog'"):
        imagefolder(image_folder)


def test_imagefolder_refuses_empty_folders(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "train" / "cow").mkdir()
    (image_folder / "val" / "cow").mkdir()
    with pytest.raises(ShardError, match=r"train/cow: holds no images \(jpg, jpeg, png, webp\)"):
        imagefolder(image_folder)
    (tmp_path / "new" / "train").mkdir(parents=True)
    with pytest.raises(ShardError, match="train: holds no class folders"):
        imagefolder(tmp_path / "new")


def test_imagenet_names(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (image_folder / "val").rglob("*.*"):
        file.rename(file.with_stem("ILSVRC2012_val_" + file.stem))
    source = imagenet(image_folder)
    assert "has 2 classes, ImageNet-1k has 1000" in capsys.readouterr().err
    write.write(source, tmp_path / "out", shard_samples=100, seed=0, workers=1)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert names == ["imagenet1k-train-0000.tar", "imagenet1k-validation-0000.tar"]
    val = Reader(Index.load(tmp_path / "out", "val"))
    assert "ILSVRC2012_val_dog_1" in {val.key(sample) for sample in range(4)}


def test_imagenet_refuses_names_that_stand_twice(image_folder: Path) -> None:
    with pytest.raises(ShardError, match="4 names stand twice, say 'cat_0': use the kind imagefolder"):
        imagenet(image_folder)


# --- Fashion-MNIST


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


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
    assert f"{tmp_path}/none/train-images-idx3-ubyte[.gz]: missing; " in message
    assert "No such file or directory: 'apt-get'; get train-images" in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (idx_bytes(np.zeros((2, 3), np.uint8)), "begins with 00000802, not with 00000801"),
        (b"\0\0\x09\x01\0\0\0\1x", "begins with 00000901, not with 00000801"),
        (b"\0\0\x08\x01\0", "begins with 00000801"),
        (idx_bytes(np.zeros(5, np.uint8))[:-1], r"has 12 bytes, 13 for \(5,\)"),
        (idx_bytes(np.zeros(5, np.uint8)) + b"x", r"has 14 bytes, 13 for \(5,\)"),
    ],
)
def test_idx_is_read_strictly(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ShardError, match=f"x: {message}.*get it again"):
        idx.read(tmp_path / "x", 1)


@pytest.mark.parametrize("cut", [5, 20, -1])
def test_damaged_gzip(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))
    (tmp_path / "x.gz").write_bytes(whole[:cut])
    with pytest.raises(ShardError, match=r"x\.gz: damaged"):
        idx.read(tmp_path / "x", 1)


# --- CIFAR-10


def python2_pickle(data: np.ndarray, labels: list[int]) -> bytes:
    """{"data": array, "labels": list} as Python 2 and its numpy wrote it, byte strings and all."""
    rows, columns = data.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
        + f"(I1\n(I{rows}\nI{columns}\ntcnumpy\ndtype\n(U\x02u1I0\nI1\ntR".encode()
        + b"(I3\nU\x01|NNNI-1\nI-1\nI0\ntbI00\nT"
        + struct.pack("<I", data.size)
        + data.tobytes()
        + b"tb"
    )
    numbers = b"(" + b"".join(f"I{label}\n".encode() for label in labels) + b"l"
    return b"\x80\x02(U\x04data" + array + b"U\x06labels" + numbers + b"d."


@pytest.fixture
def small_cifar(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"class{number}" for number in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        data = np.random.default_rng(number).integers(0, 256, (4, 3072), np.uint8)
        labels = [number, 9, 0, 1]
        new = pickle.dumps({"data": data, "labels": labels})
        (folder / name).write_bytes(new if number % 2 else python2_pickle(data, labels))
    return tmp_path / "source"


def test_cifar10(small_cifar: Path, tmp_path: Path) -> None:
    write.main(["cifar10", str(small_cifar), str(tmp_path / "out")])
    index = Index.load(tmp_path / "out", "train")
    assert (index.num_samples, index.classes[3]) == (20, "class3")
    reader = Reader(index)
    for sample in range(20):
        data, label = reader.read(sample)
        batch, row = divmod(int(reader.key(sample).removeprefix("train-")), 4)
        planes = np.random.default_rng(batch).integers(0, 256, (4, 3072), np.uint8)[row].reshape(3, 32, 32)
        assert label == [batch, 9, 0, 1][row]
        assert (pixels(data) == planes.transpose(1, 2, 0)).all()
    assert cifar10(str(small_cifar / "cifar-10-batches-py")).splits["val"].labels == [5, 9, 0, 1]


class Harm:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch harm",)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (pickle.dumps(Harm()), "asks for posix.system, which no image data needs"),
        (b"", "damaged, or not of CIFAR-10"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8)})[:-9], "damaged, or not of CIFAR-10"),
        (pickle.dumps([1]), "holds no dict"),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}),
            "doesn't hold images of 32x32x3",
        ),
        (pickle.dumps({"data": [1], "labels": [1]}), "doesn't hold images"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}), "not numbers from 0 to 9"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["a"]}), "not numbers from 0 to 9"),
    ],
)
def test_cifar10_refuses_other_files(small_cifar: Path, batch: bytes, message: str) -> None:
    (small_cifar / "cifar-10-batches-py" / "data_batch_2").write_bytes(batch)
    with pytest.raises(ShardError, match=f"data_batch_2: .*{message}.*download it again"):
        cifar10(str(small_cifar))
    assert not Path("harm").exists()


def test_cifar10_is_downloaded(small_cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = small_cifar / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as content:
        content.add(small_cifar / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(cifar, "_MD5", md5(archive))
    with http(small_cifar) as served:
        monkeypatch.setattr(cifar, "_URL", f"{served.url}/{archive.name}")
        assert cifar10("auto").splits["val"].labels == [5, 9, 0, 1]
    with pytest.raises(ShardError, match=r"CIFAR-10 can't be downloaded .*: fetch cifar-10-python"):
        cifar10("auto")


def test_cifar10_missing(tmp_path: Path) -> None:
    with pytest.raises(
        ShardError, match=r"batches\.meta: missing: SOURCE must be the folder cifar-10-batches-py"
    ):
        cifar10(str(tmp_path))


TRAIN_IDENTITY = "e772361c93d253473ff138ca44605ffeccd58399228411976ab389502662c9ec"
