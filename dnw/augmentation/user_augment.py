"""The augmentation of training images that is a class of the user's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dnw import user_classes
from dnw.config import ConfigError, Train
from shards.rng import bits
from shards.user_class.names import is_user_class

# of an image, uint8 [H, W, 3], the side that is wanted, and the key that its random numbers are a function of
Augment = Callable[[np.ndarray, int, tuple[int, ...]], np.ndarray]


def user_augment(train: Train) -> Augment | None:
    """Build the augmentation of the user's own; None where data.augment names none.

    Raises:
        ConfigError: it fails; so does what is returned, or where that gives out something else than an image.
    """
    if not is_user_class(train.data.augment):
        return None
    made = user_classes.build(train, "data.augment")

    def augment(image_HWC: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=bits(*key, n=2)))
        found = user_classes.call(train, "data.augment", lambda: made(image_HWC, size, rng))
        if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.shape != (size, size, 3):
            is_array = isinstance(found, np.ndarray)
            got = f"{found.dtype} {list(found.shape)}" if is_array else type(found).__name__
            raise ConfigError(
                f"data.augment={train.data.augment}: must return uint8 [{size}, {size}, 3] (got {got} for an "
                f"image of {list(image_HWC.shape)})"
            )
        return found

    return augment
