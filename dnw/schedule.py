"""Steps, epochs and the learning rate: pure functions of the step."""

from __future__ import annotations

import math

from dnw.config import MOST_STEPS, ConfigError, Optim, Train

_BEGINS_BELOW = 25  # onecycle: times lower than the highest rate


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
    """Return how many whole epochs `step` steps make, of an epoch of `samples` images.

    Args:
        train: says how many images a step takes.
        samples: images of an epoch.
        step: steps that are done.
    """
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


def image_size(train: Train, samples: int, step: int) -> int:
    """Return the side of the images of a step (from 0), in pixels; all micro-batches of a step have one size.

    It is that of the last epoch in `augment.sizes` that has begun with the step's first image. Training on
    small images first is progressive resizing; source: Tan and Le, https://arxiv.org/abs/2104.00298,
    section 4.

    Args:
        train: batch size, image size and sizes by epoch.
        samples: images of an epoch.
        step: from 0.
    """
    epoch = step * train.batch / samples
    begun = [size for first, size in train.augment.sizes if epoch >= first]
    return begun[-1] if begun else train.data.image_size


def learning_rate(optim: Optim, step: int, steps: int, steps_per_epoch: float) -> float:
    """Return the rate of the step with this number (from 0) of `steps`.

    Cosine falls from `lr` to `end_lr` over all steps (paper, appendix, to 0); linear does so in a line;
    multistep multiplies by `gamma` at each milestone epoch, step every `step_epochs`, and neither goes below
    `end_lr`; constant stays. A warm-up rises linearly over its epochs, and cosine and linear run over what is
    left. Onecycle rises by half a cosine from 1/25 of `lr` over the share `rise` of all steps, then falls by
    another to `end_lr` at the last one (Smith and Topin, https://arxiv.org/abs/1708.07120, as
    torch.optim.lr_scheduler.OneCycleLR has it by default); a momentum stays as it is.

    Args:
        optim: the schedule and its numbers.
        step: from 0.
        steps: of the whole run.
        steps_per_epoch: images of the training split over images of a step.
    """
    warmup = optim.warmup_epochs * steps_per_epoch
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    match optim.schedule:
        case "cosine":
            return _cosine(optim.lr, optim.end_lr, (step - warmup) / (steps - warmup))
        case "linear":
            return optim.lr + (optim.end_lr - optim.lr) * ((step - warmup) / (steps - warmup))
        case "onecycle":
            return _onecycle(optim, step, steps)
        case "constant":
            return optim.lr
    epoch = step / steps_per_epoch
    if optim.schedule == "step":
        assert optim.step_epochs is not None  # dnw.config has seen to that
        drops = int(epoch / optim.step_epochs)
    else:
        drops = sum(epoch >= milestone for milestone in optim.milestones)
    return max(optim.lr * optim.gamma**drops, optim.end_lr)


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


def _onecycle(optim: Optim, step: int, steps: int) -> float:
    peak = optim.rise * steps - 1
    if step < peak:
        return _cosine(optim.lr / _BEGINS_BELOW, optim.lr, step / peak)
    return _cosine(optim.lr, optim.end_lr, (step - peak) / (steps - 1 - peak))
