from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from dnw.augmentation.crop import crop_of_padded, resized


def test_crops_reach_every_corner_and_nothing_else() -> None:
    pixels = np.arange(1, 1 + 8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)))
    for y, x in itertools.product((0.0, 0.5, 0.999), repeat=2):
        crop = crop_of_padded(pixels, 4, y, x)
        top, left = int(y * 9), int(x * 9)
        assert np.array_equal(crop, padded[top : top + 8, left : left + 8])
    assert crop_of_padded(pixels, 4, 0.999, 0.999).shape == (8, 8, 3)


@pytest.mark.parametrize("flip", [False, True])
def test_scaling_is_that_of_pillow_but_for_rounding(flip: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC))
    for top, left, bottom, right in ((0, 0, 375, 500), (3, 7, 300, 401), (100, 50, 220, 310)):
        part = smooth[top:bottom, left:right]
        theirs = np.asarray(Image.fromarray(part).resize((224, 224), Image.Resampling.BILINEAR))
        ours = resized(part, 224, 224, flip)
        apart = np.abs(ours.astype(int) - (theirs[:, ::-1] if flip else theirs))
        assert apart.max() <= 2
        assert (apart == 0).mean() > 0.95
