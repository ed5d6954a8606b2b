"""The optimizer, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic.dataclasses import dataclass

from dnw.config.user_class import OrUserClass
from dnw.ranges import LARGEST, STRICT, Amount, Finite, Magnitude, Number

# Settings that some schedules have, and which; any other schedule refuses them.
OF_SCHEDULE = {
    "milestones": ("multistep",),
    "gamma": ("multistep", "step"),
    "step_epochs": ("step",),
    "rise": ("onecycle",),
    "warmup_epochs": ("cosine", "multistep", "step", "linear", "constant"),
    "end_lr": ("cosine", "multistep", "step", "linear", "onecycle"),
}
OF_SGD = ("momentum", "nesterov")  # settings of its own; any other optimizer takes all it has by `options`


def _rate(value: Any, info: ValidationInfo) -> Any:
    if value is None:  # as a recipe has it for any optimizer but the one that it was made with
        name = info.data.get("name", "another optimizer")
        raise ValueError(f"set for {name}, as the recipe's is for sgd: say optim.lr=1e-3")
    return value


def _of_sgd(value: Any) -> Any:
    return False if value is None else value  # as a recipe has it for any optimizer but sgd


def _option(value: Any) -> Any:
    is_number = isinstance(value, int | float)
    if isinstance(value, list | tuple) and all(isinstance(one, int | float) for one in value):
        return tuple(_option(one) for one in value)
    if not (is_number or value is None or isinstance(value, str)):
        raise ValueError("a number, a list of numbers, true, false or a name")
    return value


Rate = Annotated[Magnitude, BeforeValidator(_rate)]
Option = Annotated[Finite, BeforeValidator(_option)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optim:
    """Which optimizer with which settings, and the learning rate as a function of the step."""

    # of torch.optim, in small letters; or timm/NAME (dnw/optimizer_registry.py); or a class of the user's own
    name: Annotated[str, OrUserClass] = "sgd"
    options: dict[str, Option] = field(default_factory=dict)  # of any other than sgd, by the library's names
    lr: Rate
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None  # sgd's, as is nesterov
    weight_decay: Amount | None = None  # None: the library's own, of any other than sgd
    nesterov: Annotated[bool, BeforeValidator(_of_sgd)] = False
    schedule: Literal["cosine", "multistep", "step", "linear", "onecycle", "constant"]
    milestones: tuple[Number, ...] = ()  # epochs, multistep only
    gamma: Magnitude = 0.1  # at each milestone, or step
    step_epochs: Magnitude | None = None  # between two steps; step only
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3  # share of the run in which the rate rises; onecycle only
    end_lr: Amount = 0.0  # what the rate falls to, or not below
    warmup_epochs: Amount = 0.0
    decay_norms: bool = True  # whether norms and biases decay like other weights
    no_decay: tuple[str, ...] = ()  # names of parameters that don't decay, * for anything
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    wired_lr_factor: Magnitude = 1.0  # times the rate, for the weights that are wired
    clip_norm: Magnitude | None = None  # that the gradient of a step is scaled down to
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # of the weights: share kept at each step


def is_computable(optim: Optim) -> bool:
    """Return whether the rate after the last milestone is a number of float32."""
    magnitude = math.log10(optim.lr) + len(optim.milestones) * math.log10(optim.gamma)
    return magnitude <= math.log10(LARGEST)
