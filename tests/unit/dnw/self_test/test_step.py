from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from dnw.self_test import step
from dnw.self_test.measure import Setup
from dnw.training.checkpoint import Checkpoint
from dnw.training.distributed import ALONE, World


@pytest.mark.parametrize(
    ("is_faulty", "gradients"), [(False, "gradients 0.0e+00"), (True, "gradients 2.0e-02")]
)
def test_gradients_that_are_off_by_two_percent_are_found(
    setup: Callable[..., Setup], is_faulty: bool, gradients: str
) -> None:
    found = step.measure(setup(is_faulty=is_faulty))
    assert found.is_right == (not is_faulty)
    assert found.figure.startswith("no GPU here: cpu beside cpu: loss 0.0e+00, ")
    assert gradients in found.figure


@pytest.mark.parametrize("what", ["loss", "statistics", "masks"])
def test_what_else_differs_is_found(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    after = step._after_a_step

    def here_or_there(of: Setup, world: World, is_faulty: bool) -> Checkpoint:
        state = after(of, world, is_faulty)
        return CHANGES[what](state) if world is not ALONE else state

    monkeypatch.setattr(step, "_after_a_step", here_or_there)
    found = step.measure(setup(is_faulty=False))
    assert not found.is_right
    figures = found.figure.removeprefix("no GPU here: cpu beside cpu: ")
    apart = {name: float(value) for name, value in (part.split() for part in figures.split(", "))}
    assert [name for name, value in apart.items() if value > step.TOLERANCES[name]] == [what]


def _statistics_changed(state: Checkpoint) -> Checkpoint:
    model = {
        name: value * (1.01 if name.endswith("running_var") else 1) for name, value in state.model.items()
    }
    return dataclasses.replace(state, model=model)


CHANGES: dict[str, Callable[[Checkpoint], Checkpoint]] = {
    "loss": lambda state: dataclasses.replace(state, meter=state.meter * 1.01),
    "statistics": _statistics_changed,
    "masks": lambda state: dataclasses.replace(state, masks={k: ~v for k, v in state.masks.items()}),
}
