"""A network from a file of dnw.export, on images."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_networks import (
    Oddity,
    drawn,
    error,
    one_thread,  # noqa: F401
)
from exported import CARD, expected_of, odd_network
from PIL import Image
from torch import Tensor

import dnw
from dnw.compact import compact
from dnw.exported import photograph
from dnw.exported.model_file import Card, write
from dnw.training.evaluation import Normalize

ROOT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("engine", ["native", "compact", "auto"])
def test_load(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = odd_network("mobilenet", monkeypatch)
    write(tmp_path / "one.safetensors", compact(network, 32), CARD)
    loaded = dnw.load(tmp_path / "one.safetensors", engine=engine)
    assert loaded.card.classes == 10
    pixels = torch.randint(
        0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    normalized = Normalize(CARD.mean, CARD.std, torch.device("cpu"))(pixels)
    by_hand = (pixels / 255 - torch.tensor(CARD.mean).view(3, 1, 1)) / torch.tensor(CARD.std).view(3, 1, 1)
    torch.testing.assert_close(normalized, by_hand)
    expected = expected_of(network, by_hand)
    assert error(loaded(pixels), expected) < 1e-5
    assert error(loaded(normalized), expected) < 1e-5


WITHOUT_TORCH = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        there = {"dnw", "shards", "numpy", "numba", "llvmlite", "safetensors", "PIL"}
        if top in there | sys.stdlib_module_names or top.startswith("_"):
            return None
        raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Refuse())
import dnw
assert not {"numpy", "numba", "PIL"} & set(sys.modules)
for guess in dnw.load(sys.argv[1], threads=1).classify(sys.argv[2], most=3):
    print(guess.name, guess.probability)
"""


def test_on_a_machine_that_has_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but numpy, numba and safetensors, and Pillow for the image file."""
    network, file, photo = (
        odd_network("mobilenet", monkeypatch),
        tmp_path / "one.safetensors",
        tmp_path / "photo.jpg",
    )
    card = dataclasses.replace(CARD, resize=37, class_names=tuple("abcdefghij"))
    write(file, compact(network, 32), card)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)).save(photo)
    line = [sys.executable, "-c", WITHOUT_TORCH, str(file), str(photo)]
    printed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    here = dnw.load(file, engine="compact").classify(photo)
    assert printed[::2] == [guess.name for guess in here[:3]]
    np.testing.assert_allclose(list(map(float, printed[1::2])), [p for _, p in here[:3]], rtol=1e-4)
    assert sum(probability for _, probability in here) < 1
    logits_BK = expected_of(
        network, Normalize(card.mean, card.std, torch.device("cpu"))(pixels_of(photo, card))
    )
    torch.testing.assert_close(
        torch.tensor(here[0].probability), logits_BK.softmax(1).max(), rtol=1e-4, atol=0
    )


def pixels_of(photo: Path, card: Card) -> Tensor:
    return torch.from_numpy(photograph.read(photo, card))[None]


@pytest.mark.parametrize("engine", ["native", "compact"])
def test_arrays_give_arrays(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one.safetensors", compact(odd_network("static", monkeypatch), 32), CARD)
    loaded = dnw.load(tmp_path / "one.safetensors", engine=engine, threads=1)
    pixels_BCHW = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    logits_BK = loaded(pixels_BCHW)
    assert logits_BK.dtype == np.float32
    of_tensors_BK = loaded(torch.from_numpy(pixels_BCHW))
    torch.testing.assert_close(torch.from_numpy(logits_BK), of_tensors_BK, rtol=1e-5, atol=1e-5)


def test_a_network_without_a_path(tmp_path: Path) -> None:
    network = drawn("mobilenet", 32, oddity=Oddity(density=0.0))
    write(tmp_path / "one.safetensors", compact(network, 32), CARD)
    loaded = dnw.load(tmp_path / "one.safetensors")
    images_BCHW = np.zeros((2, 3, 32, 32), np.float32)
    expected = expected_of(network, torch.from_numpy(images_BCHW)).numpy()
    np.testing.assert_allclose(loaded(images_BCHW), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"engine": "nativ"}, "no engine 'nativ'; did you mean native?"),
        ({"threads": 0}, "threads: must be at least 1, or None for all cores"),
        ({"precision": "int8"}, "precision: must be one of fp32, bf16 (got 'int8')"),
    ],
)
def test_words_that_it_does_not_know(words: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        dnw.load(tmp_path / "one.safetensors", **words)


def test_images_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = dataclasses.replace(CARD, resize=37)
    write(tmp_path / "one.safetensors", compact(odd_network("static", monkeypatch), 32), card)
    loaded = dnw.load(str(tmp_path / "one.safetensors"), engine="csr", threads=1)
    message = (
        r"images must be \[B, 3, 32, 32\], got \[1, 3, 48, 40\]: "
        "scale the shorter side to 37 pixels, bilinear, then cut 32x32 pixels out of the centre"
    )
    with pytest.raises(ValueError, match=message):
        loaded(torch.zeros(1, 3, 48, 40, dtype=torch.uint8))
    with pytest.raises(
        ValueError, match=r"images must be uint8, or normalized and float32; got torch\.float64"
    ):
        loaded(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
