from __future__ import annotations

import pytest
from example import train

from dnw import schedule


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
