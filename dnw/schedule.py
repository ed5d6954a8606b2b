"""Steps, epochs and the learning rate: pure functions of the step."""

from __future__ import annotations

import math

from dnw.config import MOST_STEPS, ConfigError, Optim, Train


def total_steps(train: Train, samples: int) -> int:
    """How many optimizer steps a run takes over a training split of so many samples."""
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return math.ceil(train.epochs * samples / train.batch)


def check_length(train: Train, samples: int) -> None:
    """Refuse more steps than checkpoints can be numbered with.

    Raises:
        ConfigError: with how many they are.
    """
    if (steps := total_steps(train, samples)) > MOST_STEPS:
        raise ConfigError(
            f"epochs: {train.epochs:g} of {samples:,} images in batches of {train.batch} are {steps:.3g} "
            f"steps; at most {MOST_STEPS:,}"
        )


def epochs_done(train: Train, samples: int, step: int) -> int:
    """Return how many whole epochs `step` steps make, of an epoch of `samples` images."""
    return step * train.batch // samples


def is_due(train: Train, samples: int, step: int, every_epochs: int) -> bool:
    """Tell whether something that is due every few epochs is done after a step; it is after the last.

    Args:
        train: batch size and length of the run.
        samples: images of an epoch.
        step: how many steps are done.
        every_epochs: how often it is due, in epochs.
    """
    if step == total_steps(train, samples):
        return True
    before, now = (epochs_done(train, samples, s) // every_epochs for s in (step - 1, step))
    return step > 0 and now > before


def learning_rate(optim: Optim, step: int, steps: int, steps_per_epoch: float) -> float:
    """Return the rate of the step with this number (from 0) of `steps`.

    Cosine falls from `lr` to 0 over all steps (paper, appendix); multistep multiplies by `gamma` at each
    milestone epoch. A warm-up rises linearly over its epochs, and the cosine runs over what is left.

    Args:
        optim: the schedule and its numbers.
        step: from 0.
        steps: of the whole run.
        steps_per_epoch: images of the training split over images of a step.
    """
    warmup = optim.warmup_epochs * steps_per_epoch
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    if optim.schedule == "cosine":
        return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    epoch = step / steps_per_epoch
    return optim.lr * optim.gamma ** sum(epoch >= milestone for milestone in optim.milestones)
