"""CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 colour photographs of 32 x 32 pixels in 10 classes."""

from __future__ import annotations

import dataclasses
import pickle
import tarfile
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shards.errors import ShardError
from shards.sources.download import download
from shards.sources.source import Source, Split, pixel_split

_URL, _MD5 = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"
_FOLDER = "cifar-10-batches-py"
_FILES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "val": ["test_batch"]}


def cifar10(source: str) -> Source:
    """Read the data set from the folder cifar-10-batches-py.

    Args:
        source: that folder, or one that holds it; or auto: downloaded from www.cs.toronto.edu (170 MB).

    Raises:
        ShardError: a file is missing or isn't what it should be, or the download fails.
    """
    return _download() if source == "auto" else _read(Path(source))


def _read(source: Path) -> Source:
    folder = source / _FOLDER if (source / _FOLDER).is_dir() else source
    classes = _batch(folder / "batches.meta").get("label_names")
    if not (isinstance(classes, list) and len(classes) == 10 and all(isinstance(c, str) for c in classes)):
        raise ShardError(f"{folder / 'batches.meta'}: doesn't name 10 classes: download the data set again")
    splits = {split: _split(folder, split) for split in _FILES}
    return Source("cifar10", tuple(classes), splits, str(folder))


def _download() -> Source:
    with tempfile.TemporaryDirectory() as root:
        archive = Path(root) / "cifar-10-python.tar.gz"
        try:
            download(_URL, archive, _MD5)
            with tarfile.open(archive) as content:
                content.extractall(root, filter="data")
        except (ShardError, tarfile.TarError, OSError) as error:
            raise ShardError(
                f"CIFAR-10 can't be downloaded ({error}): fetch {archive.name} elsewhere, unpack it, "
                f"and give the folder that holds {_FOLDER}"
            ) from error
        return dataclasses.replace(_read(Path(root)), origin=_URL)


def _split(folder: Path, split: str) -> Split:
    images, labels = zip(*(_images(folder / name) for name in _FILES[split]), strict=True)
    return pixel_split(split, np.concatenate(images), np.concatenate(labels))


def _images(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    batch = _batch(path)
    data, labels = batch.get("data"), np.asarray(batch.get("labels", ()))
    shape = (len(labels), 3 * 32 * 32)
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == shape):
        raise ShardError(f"{path}: doesn't hold images of 32x32x3 bytes and their labels: download it again")
    if labels.dtype != np.int64 or labels.min(initial=0) < 0 or labels.max(initial=0) > 9:
        raise ShardError(f"{path}: its labels are not numbers from 0 to 9: download it again")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _batch(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ShardError(f"{path}: missing: SOURCE must be the folder {_FOLDER}, one that holds it, or auto")
    try:
        with path.open("rb") as file:
            batch = _ArrayUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ShardError(f"{path}: damaged, or not of CIFAR-10 ({error}): download it again") from error
    if not isinstance(batch, dict):
        raise ShardError(f"{path}: holds no dict: download it again")
    return batch


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays, numbers, strings and containers: a pickle from elsewhere must not call anything else."""

    _reconstruct = np.empty(0).__reduce__()[0]

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")  # written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        """Return the constructor of an array, under the names of old and new numpy; nothing else.

        Raises:
            pickle.UnpicklingError: something else is asked for.
        """
        match module, name:
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):
                return self._reconstruct
            case ("numpy", "ndarray"):
                return np.ndarray
            case ("numpy", "dtype"):
                return np.dtype
        raise pickle.UnpicklingError(f"asks for {module}.{name}, which no image data needs")
