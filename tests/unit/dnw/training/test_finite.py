"""Which states may be gone on from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dnw.training.checkpoint import Checkpoint, Identity, Position
from dnw.training.finite import is_finite, is_healthy, not_finite_by_design


def state(**changes: Tensor) -> Checkpoint:
    values = {"weight": torch.ones(2, 3), "running_var": torch.ones(3), "momentum": torch.ones(2, 3)}
    values |= {"meter": torch.zeros(3, dtype=torch.float64), "mask": torch.tensor([True])} | changes
    model = {name: values[name] for name in ("weight", "running_var", "mask")}
    optimizer = {"state": {0: {"momentum_buffer": values["momentum"]}}, "param_groups": [{"lr": 0.1}]}
    return Checkpoint(Identity("e", "0", "1", "2"), Position(), model, optimizer, values["meter"], {})


def test_a_finite_state_is_healthy() -> None:
    huge = torch.full((5,), 3e38)  # whose sum is none of float32's numbers
    assert is_healthy(state(weight=huge, momentum=torch.zeros(0)), frozenset())


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", ["weight", "running_var", "momentum", "meter"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_single_value_that_is_not_finite_is_found(place: str, number: float, dtype: torch.dtype) -> None:
    values = torch.ones(1000, dtype=dtype)
    values[517] = number
    assert not is_healthy(state(**{place: values}), frozenset())


def test_what_is_infinite_by_design_does_not_count() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    exempt = not_finite_by_design(model)
    assert exempt == {"mask"}
    assert is_healthy(state(mask=torch.tensor([0.0, -math.inf])), exempt)
    assert not is_finite({"nested": [{"x": torch.tensor(math.nan)}]})
