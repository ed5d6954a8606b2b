"""Images of a micro-batch mixed with each other, and their classes with them: mixup and cutmix.

Shapes: images_BCHW normalized images, logits_BK, labels_B, B images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dnw.config import Augmentation
from shards.rng import bits, uniforms

_MIX = int.from_bytes(b"mix")  # sets these random numbers apart from all others
_SHARE = int.from_bytes(b"mixshare")
_BOTH = 0.5  # probability of cutmix where both are on


@dataclass(frozen=True)
class Mix:
    """How each image of a micro-batch is mixed with the one before it in the batch."""

    share: float  # of the image itself
    box: tuple[int, int, int, int] | None  # left, top, right, bottom of what is pasted; None: all is blended

    def images(self, images_BCHW: Tensor) -> Tensor:
        """Return the mixed images; those that are given may be overwritten."""
        if self.box is None:
            return images_BCHW.roll(1, 0).lerp_(images_BCHW, self.share)
        left, top, right, bottom = self.box
        images_BCHW[..., top:bottom, left:right] = images_BCHW[..., top:bottom, left:right].roll(1, 0)
        return images_BCHW

    def loss(self, of: Callable[[Tensor], Tensor], labels_B: Tensor) -> Tensor:
        """Return the loss of the mixed classes; `of` returns that of classes, as it is linear in them."""
        return self.share * of(labels_B) + (1 - self.share) * of(labels_B.roll(1))

    def shown(self, labels_B: Tensor) -> Tensor:
        """Return the class that has the larger share in each image."""
        return labels_B if self.share >= 1 - self.share else labels_B.roll(1)


def mix(augment: Augmentation, key: tuple[int, int, int], height: int, width: int) -> Mix | None:
    """Draw how a micro-batch is mixed; None: it isn't.

    Sources: mixup (Zhang et al., https://arxiv.org/abs/1710.09412), for ImageNet with alpha 0.2; cutmix (Yun
    et al., https://arxiv.org/abs/1905.04899), with alpha 1. The share of the image itself is drawn from
    Beta(alpha, alpha), one for the whole micro-batch, as torchvision's MixUp and CutMix do; of cutmix it is
    then what the pasted box leaves. Where both are on, one of them is taken, either as often as the other.

    Args:
        augment: alphas, and the probability with which a micro-batch is mixed.
        key: (seed, step, number of the micro-batch in the step), of which all of it is a function.
        height: of the images, pixels.
        width: of them.
    """
    if not (augment.mixup or augment.cutmix):
        return None
    is_mixed, which, y, x = uniforms(key[0], _MIX, *key[1:], n=4).tolist()
    if is_mixed >= augment.mix_prob:
        return None
    is_cut = which < _BOTH if augment.mixup and augment.cutmix else bool(augment.cutmix)
    alpha = augment.cutmix if is_cut else augment.mixup
    generator = np.random.Generator(np.random.Philox(key=bits(key[0], _SHARE, *key[1:], n=2)))
    share = float(generator.beta(alpha, alpha))
    if not is_cut:
        return Mix(share, None)
    half = 0.5 * (1 - share) ** 0.5
    middle_y, middle_x = int(y * height), int(x * width)
    down, across = int(half * height), int(half * width)
    left, right = max(0, middle_x - across), min(width, middle_x + across)
    top, bottom = max(0, middle_y - down), min(height, middle_y + down)
    return Mix(1 - (right - left) * (bottom - top) / (width * height), (left, top, right, bottom))
