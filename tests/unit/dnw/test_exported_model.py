"""A network from a file of dnw.export, on images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from drawn_networks import (
    error,
    one_thread,  # noqa: F401
)
from exported import CARD, expected_of, odd_network

import dnw
from dnw.compact import compact
from dnw.model_file import write
from dnw.training.evaluation import Normalize

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("engine", ["compact", "auto"])
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
