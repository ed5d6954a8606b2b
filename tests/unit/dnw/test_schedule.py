from __future__ import annotations

from typing import Any

import pytest
import torch
from example import train

from dnw import schedule
from dnw.models.torchvision_cpu import torchvision


def test_cosine_falls_from_lr_to_nothing() -> None:
    optim = train().optim
    rates = [schedule.learning_rate(optim, step, 100, 10) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[50] == pytest.approx(0.05)
    assert 0 < rates[99] < 1e-4
    assert rates == sorted(rates, reverse=True)


def test_multistep_falls_at_its_epochs() -> None:
    optim = train(optim__schedule="multistep", optim__milestones=[80, 120]).optim
    rates = [schedule.learning_rate(optim, step, 1600, 10) for step in (0, 799, 800, 1199, 1200, 1599)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_warmup_rises_then_the_cosine_runs() -> None:
    optim = train(optim__warmup_epochs=5).optim
    rates = [schedule.learning_rate(optim, step, 1000, 10) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 50)
    assert rates[49] == pytest.approx(0.1)
    assert max(rates) == rates[50] == pytest.approx(0.1)


@pytest.mark.parametrize(("epochs", "samples", "steps"), [(1, 320, 10), (1, 321, 11), (2.5, 320, 25)])
def test_epochs_become_steps(epochs: int, samples: int, steps: int) -> None:
    assert schedule.total_steps(train(steps=None, epochs=epochs), samples) == steps


def test_evaluation_comes_once_an_epoch_and_at_the_end() -> None:
    config = train(steps=25)  # batch 32: epochs of 100 samples end in steps 4, 7, 10, 13, 16, 19, 22, 25
    due = [step for step in range(26) if schedule.is_due(config, 100, step, 1)]
    assert due == [4, 7, 10, 13, 16, 19, 22, 25]
    assert [step for step in range(26) if schedule.is_due(config, 100, step, 3)] == [10, 19, 25]


def rates(schedule_: str, steps: int = 100, **changes: Any) -> list[float]:
    settings = {f"optim__{name}": value for name, value in changes.items()}
    optim = train(optim__schedule=schedule_, **settings).optim
    return [schedule.learning_rate(optim, step, steps, 10) for step in range(steps)]


def test_cosine_and_linear_end_at_end_lr() -> None:
    cosine, linear = (rates(name, end_lr=0.02) for name in ("cosine", "linear"))
    assert [cosine[50], linear[50]] == pytest.approx([0.06, 0.06])
    assert linear[25] == pytest.approx(0.08)
    assert 0.02 < cosine[99] < linear[99] == pytest.approx(0.0208)


def test_step_falls_every_few_epochs_and_not_below_the_end() -> None:
    found = rates("step", step_epochs=3, gamma=0.5, end_lr=0.02)
    assert [found[step] for step in (0, 29, 30, 59, 60, 99)] == pytest.approx(
        [0.1, 0.1, 0.05, 0.05, 0.025, 0.02]
    )


def test_constant_stays_after_the_warmup() -> None:
    found = rates("constant", warmup_epochs=2)
    assert found[:3] == pytest.approx([0.005, 0.01, 0.015])
    assert set(found[20:]) == {0.1}


@pytest.mark.parametrize(("steps", "rise"), [(100, 0.3), (10, 0.5), (3, 0.4)])
def test_onecycle_is_torchs(steps: int, rise: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, steps, pct_start=rise, cycle_momentum=False, final_div_factor=0.1 / 25 / 1e-3
    )
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < steps:
            theirs.step()
    assert rates("onecycle", steps, rise=rise, end_lr=1e-3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ours", "changes", "kind", "settings"),
    [
        ("cosine", {"end_lr": 1e-3}, "CosineLRScheduler", {"t_initial": 100, "lr_min": 1e-3}),
        ("linear", {"end_lr": 1e-3}, "PolyLRScheduler", {"t_initial": 100, "lr_min": 1e-3, "power": 1.0}),
        ("step", {"step_epochs": 3, "gamma": 0.5}, "StepLRScheduler", {"decay_t": 30, "decay_rate": 0.5}),
        (
            *("multistep", {"milestones": [2, 5], "gamma": 0.2}, "MultiStepLRScheduler"),
            {"decay_t": [21, 51], "decay_rate": 0.2},  # which it compares with the number of the next step
        ),
    ],
)
def test_rates_are_timms(ours: str, changes: dict[str, Any], kind: str, settings: dict[str, Any]) -> None:
    torchvision()  # timm imports it, too
    schedulers = pytest.importorskip("timm.scheduler")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = getattr(schedulers, kind)(optimizer, t_in_epochs=False, **settings)
    expected = []
    for step in range(100):
        theirs.step_update(step)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates(ours, **changes) == pytest.approx(expected)
