"""One image of the training split as a step sees it: a function of (seed, epoch, place)."""

from __future__ import annotations

import numpy as np

from dnw import schedule
from dnw.augmentation.crop import NUMBERS, for_training
from dnw.augmentation.transforms import image_transforms
from dnw.augmentation.user_augment import user_augment
from dnw.config import Train
from shards.decode import Picture
from shards.rng import uniforms

AUGMENT = 0x617567  # keeps these numbers apart from those of the order


class TrainingImages:
    """Cuts images out and changes them, as a run has it."""

    def __init__(self, train: Train, samples: int) -> None:
        """Set up what the run's images go through; `samples` is the number of images in an epoch.

        Raises:
            ConfigError: the augmentation is a class of the user's own, which fails.
        """
        self._train, self._samples = train, samples
        self._user = user_augment(train)
        self._transforms = image_transforms(train)

    def side(self, position: int) -> int:
        """Return the side of the images of the step that takes this position, in pixels."""
        return schedule.image_size(self._train, self._samples, position // self._train.batch)

    def __call__(self, picture: Picture, size: int, key: tuple[int, int, int]) -> np.ndarray:
        """Return pixels_HWC, uint8, of `size`; `key`: (seed, epoch, place).

        Raises:
            NoImageError: it is damaged.
        """
        pixels_HWC = self._cut(picture, size, key)
        return pixels_HWC if self._transforms is None else self._transforms(pixels_HWC, key)

    def _cut(self, picture: Picture, size: int, key: tuple[int, int, int]) -> np.ndarray:
        data, (seed, epoch, place) = self._train.data, key
        if self._user is not None:
            return self._user(picture.pixels(), size, (seed, AUGMENT, epoch, place))
        numbers = uniforms(seed, AUGMENT, epoch, place, n=NUMBERS[data.augment])
        return for_training(picture, data, size, numbers)
