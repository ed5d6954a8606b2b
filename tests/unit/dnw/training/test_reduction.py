"""Gradients and statistics of all micro-batches of a step, added up in two ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from example import train
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from training_steps import steps

from dnw.config import ConfigError
from dnw.training.checkpoint import Identity
from dnw.training.distributed import ALONE, World, leave
from dnw.training.reduction import Exact, Fast
from dnw.training.running_stats import RunningStatistics
from shards.index import Index

IDENTITY = Identity("example", "0", "1", "2")


@pytest.fixture
def split(few_images: Path) -> Index:
    return Index.load(few_images, "train")


@pytest.mark.parametrize("micro_batch", [4, 32])
@pytest.mark.parametrize("name", ["static", "mobilenet_v1"])
def test_exact_agrees_with_fast_to_rounding(split: Index, name: str, micro_batch: int) -> None:
    """Batches of 96 images: a tree over 24 or 3 micro-batches."""
    changes = {"model__name": name, "wiring__name": "complete", "batch": 96, "micro_batch": micro_batch}
    fast, exact = (steps(train(**changes, reduce=kind), split, 1) for kind in ("fast", "exact"))
    ours, theirs = exact.snapshot(IDENTITY), fast.snapshot(IDENTITY)
    for tensor, value in theirs.model.items():
        torch.testing.assert_close(ours.model[tensor], value, rtol=1e-5, atol=1e-6, msg=tensor)
    assert float(ours.meter[1]) == pytest.approx(float(theirs.meter[1]), rel=1e-5)


@pytest.mark.parametrize("reduce", ["fast", "exact"])
def test_losses_add_up_to_the_same_in_any_order(split: Index, reduce: str) -> None:
    made = steps(train(reduce=reduce, micro_batch=4), split, 2)
    assert float(made.meter[1] * 2**20).is_integer()


@pytest.fixture
def one_of_two() -> Iterator[World]:
    """A process that takes itself for one of two, in a real group that it has to itself."""
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield dataclasses.replace(ALONE, size=2)
    leave()


class WithASpare(nn.Module):
    """A network with a layer that its forward leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x_BC: Tensor) -> Tensor:
        used_BC: Tensor = self.used(x_BC)
        return used_BC


def test_parameters_that_take_no_part_are_named_and_exact_takes_them(one_of_two: World) -> None:
    config, x_BC = train(batch=8, micro_batch=4), torch.ones(4, 2)
    model = WithASpare()
    fast = Fast(config, model, RunningStatistics(model), one_of_two)
    fast.begin()
    with fast.micro_batch(0):
        fast.forward(x_BC).sum().backward()
    said = r"reduce=fast: spare\.weight, spare\.bias; leave them out of the network, or set reduce=exact$"
    with pytest.raises(ConfigError, match=said), fast.micro_batch(0):
        fast.forward(x_BC)
    with pytest.raises(RuntimeError, match="of another kind"), fast.micro_batch(0):
        raise RuntimeError("of another kind")
    model = WithASpare()
    exact = Exact(config, model, RunningStatistics(model), ALONE)
    for _ in range(2):
        for number in range(2):
            with exact.micro_batch(number):
                exact.forward(x_BC).sum().backward()
        exact.finish()
        assert not model.spare.weight.grad.any()
        assert model.used.weight.grad.any()
        exact.clear()
