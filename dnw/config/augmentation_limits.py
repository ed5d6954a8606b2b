"""Settings of the augmentation that exclude each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from dnw.config.augmentation import SMALLEST_IMAGE, Augmentation
from dnw.config.model import GRAPHS
from dnw.config.train import Train

TINY = GRAPHS - {"mobilenet"}
# networks of libraries that are built for images of one size, which is data.image_size
OF_ONE_SIZE = ("torchvision/vit_", "torchvision/maxvit_", "timm/vit_", "timm/deit")
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
    yield from _of_sizes(train)
    yield from _of_the_networks_sizes(train)


def _of_mixing(train: Train) -> Iterable[str]:
    augment = train.augment
    mixing = [f"augment.{name}" for name in ("mixup", "cutmix") if _is_set(augment, name)]
    if not mixing and _is_set(augment, "mix_prob"):
        yield "augment.mix_prob: of no use without augment.mixup=0.2 or augment.cutmix=1"
    if mixing and train.micro_batch == 1:
        yield f"{mixing[0]}: mixes the images of a micro-batch, and micro_batch=1 has one alone; set more"


def _of_sizes(train: Train) -> Iterable[str]:
    sizes, largest = train.augment.sizes, train.data.image_size
    epochs = [epoch for epoch, _ in sizes]
    if epochs and epochs[0] != 0:
        yield f"augment.sizes: must begin with epoch 0 (got {epochs[0]:g}), as in [[0,{largest}]]"
    elif epochs != sorted(set(epochs)):
        yield f"augment.sizes: epochs must rise (got {', '.join(f'{epoch:g}' for epoch in epochs)})"
    if epochs and train.steps is None and train.epochs is not None and epochs[-1] >= train.epochs:
        yield f"augment.sizes: epoch {epochs[-1]:g} lies behind the last of epochs={train.epochs:g}"
    if sizes and (size := max(size for _, size in sizes)) > largest:
        yield (
            f"augment.sizes: {size} is more than data.image_size={largest}, the largest of the training; "
            "data.eval_size may be larger"
        )


def _of_the_networks_sizes(train: Train) -> Iterable[str]:
    data, name = train.data, train.model.name
    asked = {
        "augment.sizes": [size for _, size in train.augment.sizes],
        "data.eval_size": [] if data.eval_size is None else [data.eval_size],
    }
    for key, sizes in asked.items():
        if name in TINY and sizes and min(sizes) < SMALLEST_IMAGE:
            yield f"{key}: must be at least {SMALLEST_IMAGE} for the {name} network (got {min(sizes)})"
        elif name.startswith(OF_ONE_SIZE) and (other := [size for size in sizes if size != data.image_size]):
            usual = f"data.image_size={data.image_size}"
            yield f"{key}: model={name} takes images of {usual} alone (got {other[0]})"


def _is_set(augment: Augmentation, name: str) -> bool:
    return bool(getattr(augment, name) != _USUAL[name])
