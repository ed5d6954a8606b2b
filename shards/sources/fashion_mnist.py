"""Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017): 60,000 + 10,000 grey photographs of clothes in 10 classes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shards.errors import ShardError
from shards.files.folder_entries import matching
from shards.sources import idx
from shards.sources.download import download
from shards.sources.source import Source, Split, pixel_split

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)  # fmt: skip
_FILES = {"train": "train", "val": "t10k"}
_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_PACKAGE = "dataset-fashion-mnist"
_INSTALLED = Path("usr/share/datasets/fashion-mnist")


def fashion_mnist(source: str, size: int) -> Source:
    """Read the data set from idx files, and pad its images with black.

    Args:
        source: a folder that holds the four files, plain or .gz, itself or in FashionMNIST/raw; or auto:
            downloaded from its owners, or else taken from Debian's package. The place that was taken is
            printed, and why those before it were not.
        size: rows and columns of the images as written, 28 or an even number above.

    Raises:
        ShardError: a file is missing or isn't what it should be; images can't be padded to that size; or no
            place has them, with every reason.
    """
    return _from_first_place(size) if source == "auto" else _read(Path(source), size)


def _read(source: Path, size: int) -> Source:
    folder = source / "FashionMNIST" / "raw"
    folder = folder if folder.is_dir() else source
    if not matching(folder, "*-ubyte*"):
        raise ShardError(
            f"{folder}: none of the files train-images-idx3-ubyte[.gz] and its three companions: SOURCE must "
            "be their folder, or auto"
        )
    splits = {split: _split(folder, split, size) for split in _FILES}
    return Source("fashion_mnist", CLASSES, splits, str(folder))


def _from_first_place(size: int) -> Source:
    places: dict[str, Callable[[Path], Path]] = {
        _URL: _downloaded,
        f"/{_INSTALLED}": _installed,
        f"the Debian package {_PACKAGE}": _by_apt,
    }
    reasons = []
    for place, fetch in places.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                source = _read(fetch(Path(folder)), size)
            except (ShardError, OSError) as error:
                reasons.append(f"{place}: {' '.join(str(error).split())}")
                print(f"not from {reasons[-1]}")
                continue
            print(f"from {place}")
            return dataclasses.replace(source, origin=place)
    raise ShardError(
        f"Fashion-MNIST can't be had: {'; '.join(reasons)}; get train-images-idx3-ubyte.gz and its three "
        "companions elsewhere and give their folder as SOURCE"
    )


def _split(folder: Path, split: str, size: int) -> Split:
    images = idx.read(folder / f"{_FILES[split]}-images-idx3-ubyte", 3)
    labels = idx.read(folder / f"{_FILES[split]}-labels-idx1-ubyte", 1)
    if len(images) != len(labels) or labels.max(initial=0) > 9:
        raise ShardError(
            f"{folder}: {len(images)} {split} images, {len(labels)} {split} labels up to "
            f"{labels.max(initial=0)}: get the files again"
        )
    border, odd = divmod(size - images.shape[1], 2)
    if border < 0 or odd or images.shape[1] != images.shape[2]:
        raise ShardError(
            f"images of {images.shape[1]}x{images.shape[2]} can't be padded evenly to {size}x{size}: "
            "take --size 28 or 32"
        )
    return pixel_split(split, np.pad(images, ((0, 0), (border, border), (border, border))), labels)


def _downloaded(folder: Path) -> Path:
    for name, md5 in _MD5.items():
        download(f"{_URL}/{name}", folder / name, md5)
    return folder


def _installed(_: Path) -> Path:
    return "/" / _INSTALLED


def _by_apt(folder: Path) -> Path:
    # needs no root: the package is unpacked, not installed
    fetch = ["apt-get", "download", _PACKAGE]
    try:
        _run(fetch, folder)
    except ShardError:
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "update"], folder)  # a fresh container has no package lists
        _run(fetch, folder)
    (package,) = matching(folder, "*.deb")
    _run(["dpkg", "-x", package.name, "."], folder)
    return folder / _INSTALLED


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ShardError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
