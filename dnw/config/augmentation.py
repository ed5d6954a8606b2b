"""What is done to training images besides `data.augment`; all of it is off unless it is asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from dnw.ranges import STRICT, Amount, Portion, Positive

SMALLEST_IMAGE = 16  # that the tiny networks take, pixels
LEVELS = 31  # of strength, from 0, that RandAugment and TrivialAugment have


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Augmentation:
    """What is done to training images besides `data.augment` (docs/augmentation.md)."""

    randaugment_ops: Annotated[int, Field(ge=0, le=14)] = 0  # operations on each image; 0: none
    randaugment_magnitude: Annotated[int, Field(ge=0, lt=LEVELS)] = 9  # of RandAugment
    trivial: bool = False  # TrivialAugment: one operation on each image, of any strength
    color_jitter: Portion = 0.0  # share by which brightness, contrast and saturation change at most
    random_erase: Portion = 0.0  # probability with which a rectangle of an image is erased
    mixup: Amount = 0.0  # alpha of mixup: the larger, the more alike the shares of two images; 0: off
    cutmix: Amount = 0.0  # alpha of cutmix
    mix_prob: Portion = 1.0  # probability with which a micro-batch is mixed
    # from an epoch on, images of so many pixels: [[0, 128], [30, 224]]; (): all of data.image_size
    sizes: tuple[tuple[Amount, Positive], ...] = ()
