"""The part of a photograph that a training step sees."""

from __future__ import annotations

import math

import numpy as np

TRIES = 10  # of RandomResizedCrop


def random_box(width: int, height: int, random: np.ndarray) -> tuple[int, int, int, int]:
    """Return the part of a photograph that is cut out: 8 to 100 % of its area, sides 3:4 to 4:3.

    The distribution of torchvision's RandomResizedCrop: boxes that don't fit are drawn again, and after
    TRIES of them the centre is taken.

    Args:
        width: of the photograph, pixels.
        height: likewise.
        random: numbers from 0 to below 1, four for each of TRIES.
    """
    for area_share, log_ratio, y, x in random.reshape(TRIES, 4).tolist():
        area = width * height * (0.08 + 0.92 * area_share)
        ratio = math.exp((2 * log_ratio - 1) * math.log(4 / 3))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
