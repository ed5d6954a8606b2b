"""What the tiny classifiers share."""

from __future__ import annotations

import example
import pytest
import torch
from drawn_networks import images
from torch import nn

from dnw import models
from dnw.config import ConfigError
from dnw.models.tiny import read, stem

TINY = ("static", "discrete", "continuous")


@pytest.mark.parametrize("name", TINY)
def test_smallest_image_of_the_tiny_networks(name: str) -> None:
    assert models.build(example.train(model__name=name, data__image_size=16))(images(2, 16)).shape == (2, 10)
    with pytest.raises(
        ConfigError, match=rf"data.image_size: must be at least 16 for the {name} .* \(got 15\)"
    ):
        models.build(example.train(model__name=name, data__image_size=15))


def test_the_stem_quarters_the_image() -> None:
    layers = stem(example.train())
    assert layers(images(2, 32)).shape == (2, 32, 8, 8)
    assert [tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Conv2d)] == [
        (16, 3, 3, 3),
        (16, 1, 3, 3),
        (32, 16, 1, 1),
    ]


def test_four_pixels_up_and_left_of_the_centre_are_read() -> None:
    x_BCHW = torch.arange(64.0).view(1, 1, 8, 8)
    assert read(x_BCHW).tolist() == [[(18 + 19 + 26 + 27) / 4]]
