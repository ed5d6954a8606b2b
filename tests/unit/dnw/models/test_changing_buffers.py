"""Buffers that change in forward; in runs that are killed: tests/integration/test_extending.py."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from example import train
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dnw.config import ConfigError
from dnw.models.changing_buffers import ChangingBuffers, find_changing
from dnw.training.running_stats import RunningStatistics

CPU = torch.device("cpu")
OWN = train(
    model__name="my_lab.nets.Tiny", width=None, sparsity=0.5, batch=8, micro_batch=4, data__image_size=8
)


class Stateful(nn.Module):
    """Has buffers of each kind, and does with them what it is told."""

    mean: Tensor
    seen: Tensor
    scratch: Tensor
    constant: Tensor
    late: Tensor | None

    def __init__(self, change: Callable[[Stateful, Tensor], None]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.count = 0
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("scratch", torch.zeros(4), persistent=False)
        self.register_buffer("constant", torch.ones(4))
        self.register_buffer("late", None)
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images).mean((2, 3)) * self.constant
        if self.training:
            self.change(self, features.detach())
        return features


def averaged(model: Stateful, features: Tensor) -> None:
    model.mean = 0.5 * model.mean + 0.5 * features.mean(0)
    model.seen += 1


def test_buffers_that_change_are_found_and_left_as_they_were() -> None:
    model = Stateful(averaged)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    assert find_changing(model, OWN, CPU) == ["mean", "seen"]
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert find_changing(nn.Conv2d(3, 4, 1), OWN, CPU) == []
    spectral = find_changing(spectral_norm(nn.Conv2d(3, 4, 1)), OWN, CPU)
    assert spectral == ["parametrizations.weight.0._u", "parametrizations.weight.0._v"]


def test_a_buffer_that_is_written_what_it_holds_is_found() -> None:
    """As the vectors of a spectral norm are, which the norm has brought to rest as it was made."""

    def rests(model: Stateful, _: Tensor) -> None:
        model.mean.copy_(model.mean.clone())

    assert find_changing(Stateful(rests), OWN, CPU) == ["mean"]


def _grow(model: Stateful, _: Tensor) -> None:
    model.constant = torch.cat([model.constant, model.constant])


def _make(model: Stateful, features: Tensor) -> None:
    model.late = features.mean(0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda model, features: model.scratch.copy_(features.mean(0)),
            "its buffer 'scratch' changes in forward, and is in no checkpoint: register_buffer('scratch', "
            "...) without persistent=False",
        ),
        (_grow, "its buffer 'constant' changes in forward, in its shape, too"),
        (_make, "its buffer 'late' changes in forward, in its shape, too"),
    ],
    ids=["not persistent", "larger", "late"],
)
def test_what_no_checkpoint_can_hold_is_refused(
    change: Callable[[Stateful, Tensor], None], said: str
) -> None:
    with pytest.raises(ConfigError, match="model=my_lab") as refused:
        find_changing(Stateful(change), OWN, CPU)
    assert said in str(refused.value)


def test_attributes_that_change_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def count(model: Stateful, features: Tensor) -> None:
        model.count += len(features)

    with caplog.at_level(logging.WARNING):
        find_changing(Stateful(averaged), OWN, CPU)
        assert not caplog.text
        assert find_changing(Stateful(count), OWN, CPU) == []
    assert "attributes in its forward that are in no checkpoint: count; where" in caplog.text


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_step_is_the_same_on_any_number_of_processes(ranks: int) -> None:
    """Four micro-batches, of which each rank takes its share; each begins with what the step began with."""
    torch.manual_seed(0)
    inputs = torch.randn(3, 4, 4, 3, 2, 2)  # steps, micro-batches
    models = [Stateful(averaged) for _ in range(ranks)]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    runnings = [RunningStatistics(model, ["mean", "seen"]) for model in models]
    expected, body = torch.zeros(4), models[0].body[0]
    for step in inputs:
        normalized = [nn.BatchNorm2d(4)(body(images)).mean((0, 2, 3)).detach() for images in step]
        expected = 0.5 * expected + 0.5 * torch.stack(normalized).mean(0)
        for rank, (model, running) in enumerate(zip(models, runnings, strict=True)):
            running.train()
            for number in range(4 // ranks):
                running.next_micro_batch(number)
                model(step[rank * 4 // ranks + number])
                running.end_micro_batch()
        mean = torch.stack([running.collected for running in runnings]).mean(0)
        for running in runnings:
            running.step(mean)
    for model, running in zip(models, runnings, strict=True):
        running.evaluate(3)
        assert int(model.seen) == 3
        torch.testing.assert_close(model.state_dict()["mean"], expected)


def test_a_number_that_several_micro_batches_agree_on_is_kept_exactly() -> None:
    """The mean of three equal values may be another one."""
    model = Stateful(averaged)
    buffers = ChangingBuffers(model, ["mean"])
    model.mean.fill_(0.1)
    mean = torch.zeros(buffers.size)
    for number in range(3):
        buffers.renew()
        buffers.collect(mean, number)
    buffers.keep(mean)
    assert torch.equal(buffers.kept["mean"], torch.full((4,), 0.1))
