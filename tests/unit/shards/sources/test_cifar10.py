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
from shards.sources.cifar10 import cifar10


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


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
