"""Settings of the optimizer and of the schedule that exclude each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from dnw.config.optim import OF_SCHEDULE, OF_SGD, Optim, is_computable

_USUAL = {field.name: field.default for field in dataclasses.fields(Optim)}
# Settings that a cosine has always left alone, as recipes for other schedules name them: runs have them.
_LEFT_ALONE = {"cosine": ("milestones", "gamma")}


def of_the_optimizer(optim: Optim) -> Iterable[str]:
    """Yield a line for each combination of settings that can't be trained with."""
    if optim.name == "sgd":
        for key in ("momentum", "weight_decay"):
            if getattr(optim, key) is None:
                yield f"optim.{key}: must be set for sgd"
    else:
        yield from (f"optim.{key}: {_not_sgds(optim, key)}" for key in OF_SGD if getattr(optim, key))
    yield from _of_the_schedule(optim)


def _of_the_schedule(optim: Optim) -> Iterable[str]:
    for key in OF_SCHEDULE:
        if _is_unused(optim, key) and key not in _LEFT_ALONE.get(optim.schedule, ()):
            yield f"optim.{key}: {_not_the_schedules(optim, key)}"
    if optim.schedule == "multistep" and not optim.milestones:
        yield "optim.milestones: must name the epochs at which a multistep schedule lowers the rate"
    if optim.schedule == "multistep" and not is_computable(optim):
        yield f"optim.gamma: {optim.gamma:g} at each of {len(optim.milestones)} milestones is beyond float32"
    if optim.schedule == "step" and optim.step_epochs is None:
        yield "optim.step_epochs: must be set, the epochs between two steps of the rate"
    if optim.schedule == "step" and optim.gamma > 1:
        yield f"optim.gamma: a step lowers the rate, it must be at most 1 (got {optim.gamma:g})"
    if optim.end_lr > optim.lr:
        yield f"optim.end_lr: must be at most optim.lr={optim.lr:g} (got {optim.end_lr:g})"


def unused_words(optim: Optim, words: Sequence[str]) -> Iterable[str]:
    """Yield a line for each typed setting that the schedule has no use for.

    What a recipe says of another schedule may be left alone; what was typed was meant.
    """
    for key in (word.lstrip("+").partition("=")[0].removeprefix("optim.") for word in words):
        if key in OF_SCHEDULE and _is_unused(optim, key):
            yield f"optim.{key}: {_not_the_schedules(optim, key)}"


def _is_unused(optim: Optim, key: str) -> bool:
    return optim.schedule not in OF_SCHEDULE[key] and getattr(optim, key) != _USUAL[key]


def _not_the_schedules(optim: Optim, key: str) -> str:
    others = " and ".join(OF_SCHEDULE[key]) if len(OF_SCHEDULE[key]) < 3 else "all others"
    usual = _USUAL[key]
    none = "[]" if usual == () else "null" if usual is None else usual
    return f"optim.schedule={optim.schedule} has none, {others} have; leave it out, or say optim.{key}={none}"


def _not_sgds(optim: Optim, key: str) -> str:
    value = getattr(optim, key)
    typed = f"{value:g}" if isinstance(value, float) else str(value).lower()
    return (
        f"a setting of sgd's; leave it out, or name it as {optim.name} does: "
        f"optim.options={{{key}: {typed}}}, if that has one"
    )
