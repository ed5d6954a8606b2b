"""The optimizer, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dnw.ranges import LARGEST, STRICT, Amount, Magnitude, Number


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optim:
    """SGD with momentum, and the learning rate as a function of the step."""

    lr: Magnitude
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Amount
    nesterov: bool = False
    schedule: Literal["cosine", "multistep"]
    milestones: tuple[Number, ...] = ()  # epochs, multistep only
    gamma: Magnitude = 0.1
    warmup_epochs: Amount = 0.0
    decay_norms: bool = True  # whether norms and biases decay like other weights
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


def is_computable(optim: Optim) -> bool:
    """Return whether the rate after the last milestone is a number of float32."""
    magnitude = math.log10(optim.lr) + len(optim.milestones) * math.log10(optim.gamma)
    return magnitude <= math.log10(LARGEST)
