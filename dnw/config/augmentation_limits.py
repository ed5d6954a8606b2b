"""Settings of the augmentation that exclude each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from dnw.config.augmentation import Augmentation
from dnw.config.train import Train

_USUAL = {field.name: field.default for field in dataclasses.fields(Augmentation)}


def of_the_augmentation(train: Train) -> Iterable[str]:
    """Yield a line for each combination of settings that can't be trained with."""
    augment = train.augment
    if augment.trivial and augment.randaugment_ops:
        yield (
            "augment.trivial: in place of RandAugment, not besides; leave one of augment.trivial and "
            "augment.randaugment_ops out"
        )
    if not augment.randaugment_ops and _is_set(augment, "randaugment_magnitude"):
        yield "augment.randaugment_magnitude: of no use without augment.randaugment_ops=2"
    yield from _of_mixing(train)


def _of_mixing(train: Train) -> Iterable[str]:
    augment = train.augment
    mixing = [f"augment.{name}" for name in ("mixup", "cutmix") if _is_set(augment, name)]
    if not mixing and _is_set(augment, "mix_prob"):
        yield "augment.mix_prob: of no use without augment.mixup=0.2 or augment.cutmix=1"
    if mixing and train.micro_batch == 1:
        yield f"{mixing[0]}: mixes the images of a micro-batch, and micro_batch=1 has one alone; set more"


def _is_set(augment: Augmentation, name: str) -> bool:
    return bool(getattr(augment, name) != _USUAL[name])
