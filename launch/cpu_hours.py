"""How long a run would take without GPUs."""

from __future__ import annotations

import math

from dnw.config import Train

# Images of 224 px that one core of an AMD EPYC trains on in a second: measured, docs/reproduce.md.
TRAINED_PER_CORE = {"mobilenet": 6.9, "resnet50": 2.2}
MEASURED_PX = 224
IMAGES = {"imagenet": 1_281_167}  # of the training split


def hours(train: Train, processes: int) -> float | None:
    """Return the hours of a whole run, as if so many processes shared it without loss.

    Returns:
        None where nobody has timed such a network, or it isn't known how many images it sees.
    """
    rate = TRAINED_PER_CORE.get(train.model.name)
    samples = IMAGES.get(train.data.name)
    if rate is None or (train.steps is None and samples is None):
        return None
    seen = train.steps * train.batch if train.steps else (train.epochs or 0.0) * (samples or 0)
    pixels = (train.data.image_size / MEASURED_PX) ** 2
    return seen * pixels / (rate * train.threads * processes) / 3600


def told(train: Train, processes: int) -> str:
    """Return what to say of a run that wants GPUs, and gets none."""
    found = hours(train, processes)
    on = f"{processes} process{'es' if processes > 1 else ''} on the CPU"
    if found is None:
        return f"{train.exp} wants GPUs and trains with {on}: nobody has timed how long that takes"
    digits = max(0, math.floor(math.log10(max(found, 1))) - 1)
    rate = TRAINED_PER_CORE[train.model.name]
    return (
        f"{train.exp} wants GPUs and trains with {on}: about {round(found, -digits):,.0f} hours (reckoned by "
        f"{rate:g} images/s for each core, docs/reproduce.md)"
    )
