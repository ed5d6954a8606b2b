"""One image of the training split as a step sees it: a function of (seed, epoch, place)."""

from __future__ import annotations

import numpy as np

from dnw.augmentation.crop import NUMBERS, for_training
from dnw.augmentation.transforms import image_transforms
from dnw.augmentation.user_augment import user_augment
from dnw.config import Train
from shards.decode import Picture
from shards.rng import uniforms

AUGMENT = 0x617567  # keeps these numbers apart from those of the order


class TrainingImages:
    """Cuts images out and changes them, as a run has it."""

    def __init__(self, train: Train) -> None:
        """Set up what the run's images go through.

        Raises:
            ConfigError: the augmentation is a class of the user's own, which fails.
        """
        self._data = train.data
        self._user = user_augment(train)
        self._transforms = image_transforms(train)

    def __call__(self, picture: Picture, key: tuple[int, int, int]) -> np.ndarray:
        """Return pixels_HWC, uint8; `key`: (seed, epoch, place).

        Raises:
            NoImageError: it is damaged.
        """
        pixels_HWC = self._cut(picture, key)
        return pixels_HWC if self._transforms is None else self._transforms(pixels_HWC, key)

    def _cut(self, picture: Picture, key: tuple[int, int, int]) -> np.ndarray:
        seed, epoch, place = key
        if self._user is not None:
            return self._user(picture.pixels(), self._data.image_size, (seed, AUGMENT, epoch, place))
        numbers = uniforms(seed, AUGMENT, epoch, place, n=NUMBERS[self._data.augment])
        return for_training(picture, self._data, numbers)
