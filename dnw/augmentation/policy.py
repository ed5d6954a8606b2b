"""RandAugment and TrivialAugment: operations drawn for each image, computed by torchvision.

Shapes: image_CHW, uint8, C = 3 channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from dnw.config.augmentation import LEVELS

# What each operation does at the highest level, at the lowest being nothing; None: it has no levels. Shearing
# is a tangent, turning in degrees, translation in sides (WIDE: in pixels), colours are shares by which a
# factor leaves 1, posterize is bits of 8 that go, solarize the share of the scale inverted, from above.
RANDAUGMENT: Mapping[str, float | None] = {
    **{"identity": None, "shear_x": 0.3, "shear_y": 0.3, "translate_x": 150 / 331, "translate_y": 150 / 331},
    **{"rotate": 30.0, "brightness": 0.9, "saturation": 0.9, "contrast": 0.9, "sharpness": 0.9},
    **{"posterize": 4.0, "solarize": 1.0, "autocontrast": None, "equalize": None},
}
WIDE: Mapping[str, float | None] = {
    **{"identity": None, "shear_x": 0.99, "shear_y": 0.99, "translate_x": 32.0, "translate_y": 32.0},
    **{"rotate": 135.0, "brightness": 0.99, "saturation": 0.99, "contrast": 0.99, "sharpness": 0.99},
    **{"posterize": 6.0, "solarize": 1.0, "autocontrast": None, "equalize": None},
}
_UNSIGNED = ("posterize", "solarize")
_PER_OPERATION = 3  # random numbers: which, in which direction, how much


class Policy:
    """`count` operations one after another, drawn for each image from 14.

    Sources: RandAugment (Cubuk et al., https://arxiv.org/abs/1909.13719), whose operations have one level,
    published for ImageNet and ResNet-50 with 2 operations of level 9; TrivialAugment, "wide" (Müller and
    Hutter, https://arxiv.org/abs/2103.10158), one operation of a level that is drawn. Operations and levels
    are those of torchvision's RandAugment and TrivialAugmentWide, pixels that come in from outside black.
    """

    def __init__(self, functional: ModuleType, operations: int, level: int | None) -> None:
        """Set up a policy.

        Args:
            functional: torchvision.transforms.v2.functional.
            operations: on each image.
            level: of RandAugment, from 0 to 30; None: TrivialAugment.
        """
        self._functional = functional
        self._level = level
        self._most = WIDE if level is None else RANDAUGMENT
        self._names = tuple(self._most)
        self.numbers = _PER_OPERATION * operations

    def __call__(self, image_CHW: Tensor, random: np.ndarray) -> Tensor:
        """Return the image after its operations; `random`: `numbers` uniform numbers."""
        for which, direction, strength in random.reshape(-1, _PER_OPERATION).tolist():
            name = self._names[int(which * len(self._names))]
            level = int(strength * LEVELS) if self._level is None else self._level
            size = image_CHW.shape[2 if name == "translate_x" else 1]
            amount = self._amount(name, level, size)
            is_back = direction <= 0.5 and name not in _UNSIGNED
            image_CHW = self._changed(image_CHW, name, -amount if is_back else amount)
        return image_CHW

    def _amount(self, name: str, level: int, side: int) -> float:
        """Return what an operation does at a level, as torchvision rounds it, along `side` pixels."""
        most = self._most[name]
        if most is None:
            return 0.0
        if name == "posterize":
            return round(8 - level / ((LEVELS - 1) / most))
        if name == "solarize":
            return 255.0 * float(torch.linspace(1.0, 0.0, LEVELS)[level])
        if name.startswith("translate") and self._level is not None:
            most *= side
        return float(torch.linspace(0.0, most, LEVELS)[level])

    def _changed(self, image_CHW: Tensor, name: str, amount: float) -> Tensor:
        """Return an image after one operation."""
        f = self._functional
        tilt = math.degrees(math.atan(amount)) if name.startswith("shear") else 0.0
        still = {"angle": 0.0, "scale": 1.0}
        changed: Tensor
        match name:
            case "identity":
                changed = image_CHW
            case "shear_x":
                changed = f.affine(image_CHW, translate=[0, 0], shear=[tilt, 0.0], center=[0, 0], **still)
            case "shear_y":
                changed = f.affine(image_CHW, translate=[0, 0], shear=[0.0, tilt], center=[0, 0], **still)
            case "translate_x":
                changed = f.affine(image_CHW, translate=[int(amount), 0], shear=[0.0, 0.0], **still)
            case "translate_y":
                changed = f.affine(image_CHW, translate=[0, int(amount)], shear=[0.0, 0.0], **still)
            case "posterize":
                changed = f.posterize(image_CHW, bits=int(amount))
            case "rotate" | "solarize":
                changed = getattr(f, name)(image_CHW, amount)
            case "autocontrast" | "equalize":
                changed = getattr(f, name)(image_CHW)
            case _:
                changed = getattr(f, f"adjust_{name}")(image_CHW, 1.0 + amount)
        return changed
