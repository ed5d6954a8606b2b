from __future__ import annotations

import sys
from pathlib import Path

import example
import numpy as np
import pytest
from unit.shards.user_class.test_modules import write

from dnw.augmentation.user_augment import user_augment
from dnw.config import ConfigError
from dnw.training.data import training_batches
from shards.index import Index

TEXT = """
class Noise:
    def __init__(self, most=9):
        self.most = most
    def __call__(self, image, size, rng):
        assert image.shape == (32, 32, 3)
        return rng.integers(0, self.most, (size, size, 3), "uint8")
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_the_numbers_are_a_function_of_seed_epoch_and_place(here: Path, few_images: Path) -> None:
    write(here, lab_noise=TEXT)
    names = {"data__augment": "lab_noise.Noise", "data__augment_options": {"most": 200}}
    train = example.train(**names, data__dir=str(few_images))
    split = Index.load(few_images, "train")
    whole = [batch.images_BCHW.clone() for batch in training_batches(train, split, 0, 1, 0, 5)]
    later = [batch.images_BCHW.clone() for batch in training_batches(train, split, 0, 1, 2, 5)]
    assert all((one == other).all() for one, other in zip(whole[8:], later, strict=True))
    assert 180 < int(whole[0].max()) < 200
    assert not (whole[0] == whole[15]).all()  # the same place, of the next epoch


def test_built_in_names_have_none() -> None:
    assert user_augment(example.train()) is None


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "(size, size, 3)",
            "(size, 8, 3)",
            r"must return uint8 \[32, 32, 3\] \(got uint8 \[32, 8, 3\]",
        ),
        ('"uint8"', '"int64"', r"got int64 \[32, 32, 3\]"),
        ("return rng", "rng", "got NoneType"),
        ("self.most, (", "self.least, (", r"line 7: AttributeError"),
    ],
)
def test_what_is_no_image(here: Path, before: str, after: str, message: str) -> None:
    name = f"lab_bad_{abs(hash(after))}"
    write(here, **{name: TEXT.replace(before, after)})
    augment = user_augment(example.train(data__augment=f"{name}.Noise"))
    with pytest.raises(ConfigError, match=message):
        augment(np.zeros((32, 32, 3), np.uint8), 32, (1, 2))


def test_options_are_for_a_class_alone() -> None:
    with pytest.raises(ConfigError, match=r"data.augment_options: only for a class of your own"):
        example.train(data__augment_options={"most": 1})
