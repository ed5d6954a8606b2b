"""What is found of a network that has diverged, and where."""

from __future__ import annotations

import math

import pytest
import torch
from example import train

from dnw import models
from dnw.training.distributed import ALONE
from dnw.training.divergence import DivergedError, diagnose, diagnose_alone
from dnw.training.trainer import Trainer


@pytest.fixture
def trainer() -> Trainer:
    config = train(optim__lr=0.5)
    return Trainer(config, models.build(config), ALONE, samples=100)


def spoil(trainer: Trainer, name: str, value: float) -> None:
    with torch.no_grad():
        trainer.show_for_evaluation().state_dict(keep_vars=True)[name].view(-1)[0] = value


def test_a_finite_network_is_not_what_an_exception_comes_from(trainer: Trainer) -> None:
    assert diagnose_alone(trainer, ValueError("something else")) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_layer_in_the_order_of_the_network_is_named(trainer: Trainer, value: float) -> None:
    for name in ("fc.bias", "conv.weight"):
        spoil(trainer, name, value)
    found = diagnose(trainer, "a weight or statistic")
    assert (found.what, found.step, found.rank) == ("a weight or statistic", 0, 0)
    assert found.layer == "conv (weight)"
    assert found.tensors.startswith("2 of ")
    assert found.rate == 0.5


def test_momentum_counts_as_its_weight(trainer: Trainer) -> None:
    weight = trainer.model.get_parameter("fc.weight")
    trainer.optimizer.state[weight]["momentum_buffer"] = torch.full_like(weight, math.nan)
    assert diagnose(trainer, "x").layer == "fc (weight)"


def test_an_exception_is_told_beside_what_is_behind_it(trainer: Trainer) -> None:
    spoil(trainer, "fc.bias", math.nan)
    found = diagnose_alone(trainer, RuntimeError("underflow in dt\nmore"))
    assert found is not None
    assert found.cause == "RuntimeError: underflow in dt"
    assert found.summary == (
        "a weight or statistic of step 0 is not finite, learning rate 0.5 (RuntimeError: underflow in dt)"
    )
    assert str(DivergedError(found)) == found.summary


def test_a_loss_alone_leaves_the_place_open(trainer: Trainer) -> None:
    found = diagnose(trainer, "the loss")
    assert (found.layer, found.place) == (
        "",
        "rank 0; weights, momentum and running statistics are finite",
    )
