"""MobileNetV1: the paper's baseline."""

from __future__ import annotations

import example
import pytest
from drawn_networks import images

from dnw import models
from dnw.config import ConfigError


def test_mobilenet_v1_is_as_large_as_published() -> None:
    """0.5 M parameters at width 0.25, 4.2 M at width 1 (Howard et al., table 6 and 7)."""
    for width, parameters in ((0.25, 470_072), (1, 4_231_976)):
        train = example.train(
            model__name="mobilenet_v1", wiring__name="complete", width=width, data__classes=1000
        )
        network = models.build(train)
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
        assert network.linear.in_features == 1024 * width


@pytest.mark.parametrize(("size", "pixels"), [(32, 32), (64, 64), (96, 48)])
def test_mobilenet_v1_keeps_the_resolution_of_small_images(size: int, pixels: int) -> None:
    train = example.train(
        model__name="mobilenet_v1", wiring__name="complete", data__image_size=size, width=0.1
    )
    network = models.build(train)
    assert network.conv1(images(1, size)).shape == (1, 3, pixels, pixels)
    assert network(images(2, size)).shape == (2, 10)


def test_mobilenet_v1_needs_a_channel() -> None:
    message = "width: 0.03 leaves none of 32 channels of model=mobilenet_v1: take at least 0.03125"
    with pytest.raises(ConfigError, match=message):
        models.build(example.train(model__name="mobilenet_v1", wiring__name="complete", width=0.03))
