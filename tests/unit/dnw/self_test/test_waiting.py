from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dnw.self_test import waiting
from dnw.self_test.measure import Setup

FAULTS: dict[str, Callable[[Tensor], object]] = {
    "aten._local_scalar_dense": lambda x: x.sum().item(),
    "aten.nonzero": lambda x: x.contiguous()[0, 0, 0].nonzero(),
    "aten.equal": lambda x: torch.equal(x, x),
    "aten._unique2": lambda x: x.unique(),
    "aten.masked_select": lambda x: x.masked_select(x > 0),
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WARM_UP", 1)
    monkeypatch.setattr(waiting, "STEPS", 1)


def test_a_step_reads_nothing_back(setup: Callable[..., Setup]) -> None:
    found = waiting.measure(setup(is_faulty=False, model__name="mobilenet", image_size=32))
    assert (found.is_right, found.tolerance) == (True, "none in 1 steps")
    assert found.figure == "no GPU here: operations that would wait on one: none"


@pytest.mark.parametrize("operation", FAULTS)
def test_an_operation_that_waits_is_named(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(waiting, "_look_at_a_value", lambda _, inputs: FAULTS[operation](inputs[0]))
    found = waiting.measure(setup(is_faulty=True))
    assert not found.is_right
    assert operation in found.figure


def test_the_fault_that_is_put_in_reads_a_value_back(setup: Callable[..., Setup]) -> None:
    found = waiting.measure(setup(is_faulty=True))
    assert (found.is_right, "aten._local_scalar_dense" in found.figure) == (False, True)
