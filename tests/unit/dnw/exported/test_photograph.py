"""Image files as an evaluation sees them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import example
import numpy as np
import pytest
from exported import CARD
from PIL import Image

from dnw.augmentation.crop import for_evaluation
from dnw.compose import training
from dnw.exported import photograph
from dnw.exported.photograph import PhotographError
from shards.decode import Picture

SMOOTH = np.add.outer(np.arange(90), 2 * np.arange(70))[..., None] * [1, 0.5, 0.25]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(SMOOTH.astype(np.uint8)).save(path)
    return path


def test_it_is_cut_as_in_the_evaluation(photo: Path) -> None:
    data = training(["+exp=imagenet_dnw", "data.image_size=32"]).data
    card = dataclasses.replace(CARD, resize=round(32 * 256 / 224))
    seen_HWC = for_evaluation(Picture(photo.read_bytes()), data).astype(int)
    assert np.abs(photograph.read(photo, card).transpose(1, 2, 0) - seen_HWC).max() <= 1


def test_an_image_of_the_only_size_stays_as_it_is(tmp_path: Path) -> None:
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels_HWC).save(tmp_path / "one.png")
    np.testing.assert_array_equal(photograph.read(tmp_path / "one.png", CARD), pixels_HWC.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(32, 32), (40, 40), (90, 60)])
def test_with_an_augmentation_of_ones_own_each_is_taken_as_in_the_evaluation(
    size: tuple[int, int], tmp_path: Path
) -> None:
    data = example.train(data__image_size=40, data__eval_size=32, data__augment="my_lab.images.Own").data
    picture = Image.fromarray(SMOOTH.astype(np.uint8)).resize(size)
    picture.save(tmp_path / "one.png")
    card = dataclasses.replace(CARD, resize=round(32 * 256 / 224), stored=40)
    seen_HWC = for_evaluation(Picture((tmp_path / "one.png").read_bytes()), data).astype(int)
    assert np.abs(photograph.read(tmp_path / "one.png", card).transpose(1, 2, 0) - seen_HWC).max() <= 1


def test_grey_is_taken(tmp_path: Path) -> None:
    Image.new("L", (50, 40), 77).save(tmp_path / "grey.jpg")
    np.testing.assert_array_equal(photograph.read(tmp_path / "grey.jpg", CARD), np.full((3, 32, 32), 77))


def test_what_is_no_image_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(PhotographError, match=r"text\.jpg: no image that can be read"):
        photograph.read(tmp_path / "text.jpg", CARD)
    with pytest.raises(PhotographError, match=r"gone\.jpg: can't be read \(No such file or directory\)"):
        photograph.read(tmp_path / "gone.jpg", CARD)
