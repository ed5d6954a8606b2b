"""What changes the colours and the shapes of a training image after it is cut out, by (seed, epoch, place).

Shapes: pixels_HWC and image_CHW, uint8, C = 3 channels: an image of one channel is read as three equal ones.
There brightness and contrast change as in any other, and saturation has nothing to change.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dnw.augmentation.policy import Policy
from dnw.config import Augmentation, Train
from dnw.models.torchvision_cpu import torchvision
from shards.rng import uniforms

# Of each kind, so that one that is turned on or off changes nothing in what another one draws.
_JITTER, _POLICY, _ERASE = (int.from_bytes(word) for word in (b"jitter", b"policy", b"erase"))
_JITTERED = ("brightness", "contrast", "saturation")
_ERASE_TRIES = 10  # of torchvision's RandomErasing
_ERASE_AREA = (0.02, 0.33)  # share of the image
_ERASE_RATIO = (0.3, 3.3)  # height to width


class _Part(NamedTuple):
    """One kind of change: the word of its random numbers, how many an image takes, and what it does."""

    word: int
    numbers: int
    change: Callable[[Tensor, np.ndarray], Tensor]


class ImageTransforms:
    """Colour jitter, then RandAugment or TrivialAugment, then random erasing, whichever are on."""

    def __init__(self, augment: Augmentation, mean: tuple[float, float, float]) -> None:
        """Import torchvision, and set up what is on; `mean`: of colours from 0 to 1, shown where erased."""
        torchvision()
        functional = importlib.import_module("torchvision.transforms.v2.functional")
        self._parts = list(_parts(functional, augment, mean))
        self._made_of = (augment, mean)

    def __call__(self, pixels_HWC: np.ndarray, key: tuple[int, int, int]) -> np.ndarray:
        """Return the changed image; `key`: (seed, epoch, place), of which its changes are a function."""
        seed, epoch, place = key
        # plane by plane most of them are several times faster
        image_CHW = torch.from_numpy(np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)))
        with _one_thread():
            for part in self._parts:
                image_CHW = part.change(image_CHW, uniforms(seed, part.word, epoch, place, n=part.numbers))
        return image_CHW.permute(1, 2, 0).numpy()

    def __reduce__(self) -> tuple[Any, ...]:  # a spawned process imports torchvision by itself
        return ImageTransforms, self._made_of


def image_transforms(train: Train) -> ImageTransforms | None:
    """Return what changes each training image; None where nothing does."""
    augment = train.augment
    is_on = augment.color_jitter or augment.randaugment_ops or augment.trivial or augment.random_erase
    return ImageTransforms(augment, train.data.mean) if is_on else None


def _parts(
    functional: ModuleType, augment: Augmentation, mean: tuple[float, float, float]
) -> Iterator[_Part]:
    if augment.color_jitter:
        yield _Part(_JITTER, 2 * len(_JITTERED), _jitter(functional, augment.color_jitter))
    if augment.trivial or augment.randaugment_ops:
        level = None if augment.trivial else augment.randaugment_magnitude
        policy = Policy(functional, augment.randaugment_ops or 1, level)
        yield _Part(_POLICY, policy.numbers, policy)
    if augment.random_erase:
        numbers = 1 + 4 * _ERASE_TRIES
        yield _Part(_ERASE, numbers, _erase(functional, augment.random_erase, mean))


def _jitter(functional: ModuleType, amount: float) -> Callable[[Tensor, np.ndarray], Tensor]:
    """Change brightness, contrast and saturation, in any order, by factors from 1 - amount to 1 + amount.

    As torchvision's ColorJitter, which timm's recipes give 0.4 of each; the hue stays. Source: Howard,
    https://arxiv.org/abs/1312.5402, with 0.5.
    """

    def change(image_CHW: Tensor, random: np.ndarray) -> Tensor:
        factors = 1 + amount * (2 * random[: len(_JITTERED)] - 1)
        for number in np.argsort(random[len(_JITTERED) :], kind="stable").tolist():
            adjust = getattr(functional, f"adjust_{_JITTERED[number]}")
            image_CHW = adjust(image_CHW, float(factors[number]))
        return image_CHW

    return change


def _erase(
    functional: ModuleType, probability: float, mean: tuple[float, float, float]
) -> Callable[[Tensor, np.ndarray], Tensor]:
    """Put the mean colour over a rectangle of 2 to 33 % of the area, its sides 0.3 to 3.3 to each other.

    Source: Zhong et al., https://arxiv.org/abs/1708.04896, with probability 0.5; the distribution is that of
    torchvision's RandomErasing, whose recipe for ResNet-50 has 0.1. The mean is what normalizing makes 0.
    """
    colour_C11 = torch.tensor([round(255 * channel) for channel in mean], dtype=torch.uint8).view(3, 1, 1)
    least, most = map(math.log, _ERASE_RATIO)

    def change(image_CHW: Tensor, random: np.ndarray) -> Tensor:
        if random[0] >= probability:
            return image_CHW
        _, height, width = image_CHW.shape
        for area_share, log_ratio, y, x in random[1:].reshape(_ERASE_TRIES, 4).tolist():
            area = height * width * (_ERASE_AREA[0] + (_ERASE_AREA[1] - _ERASE_AREA[0]) * area_share)
            ratio = math.exp(least + (most - least) * log_ratio)
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                top, left = int(y * (height - h + 1)), int(x * (width - w + 1))
                erased: Tensor = functional.erase(image_CHW, top, left, h, w, colour_C11)
                return erased
        return image_CHW

    return change


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order, whoever computes: loader processes have one thread, a rank may have more."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
