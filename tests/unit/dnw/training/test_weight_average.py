"""The average of the weights: its arithmetic, its network, and that it survives."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from example import train
from training_steps import steps, trainer

from dnw.config import Train
from dnw.training.checkpoint import Identity
from dnw.training.data import training_batches
from shards.index import Index

IDENTITY = Identity("example", "0", "1", "2")
CONFIG = {"optim__ema": 0.5, "steps": 3}


@pytest.fixture
def split(few_images: Path) -> Index:
    return Index.load(few_images, "train")


def config(**changes: object) -> Train:
    return train(**CONFIG | changes)


def test_it_is_the_average_of_what_the_steps_came_to(split: Index) -> None:
    made = trainer(config())
    batches = iter(training_batches(config(), split, 0, 1, 0, 3))
    expected: dict[str, torch.Tensor] = {}
    for kept in (0.0, 1 / 10, 2 / 11):  # below ema, to which they rise
        made.step(batches)
        made.running.evaluate(made.position.step)
        now = {name: made.model.state_dict()[name].clone() for name in made.average.state_dict()}
        expected = {name: kept * expected.get(name, one) + (1 - kept) * one for name, one in now.items()}
    assert any(name.endswith("running_var") for name in expected)
    for name, one in made.average.state_dict().items():
        torch.testing.assert_close(one, expected[name])


def test_its_network_is_one_with_its_weights_and_the_edges_of_the_present_ones(split: Index) -> None:
    made = steps(config(), split, 3)
    network, average = made.networks()
    x_BCHW = torch.randn(4, 3, 32, 32)
    model = made.model.eval()
    before = copy.deepcopy(model.state_dict())
    other = copy.deepcopy(model)
    other.load_state_dict({**before, **average.state_dict()})  # type: ignore[attr-defined]
    with torch.no_grad():
        ours, theirs, raw = average(x_BCHW), other(x_BCHW), network(x_BCHW)
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, raw)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_it_goes_on_from_a_checkpoint_and_changes_nothing_else(split: Index) -> None:
    settings = config(optim__name="adamw", optim__momentum=None, optim__lr=1e-3, optim__clip_norm=0.5)
    whole = steps(settings, split, 3)
    second = trainer(settings)
    second.restore(steps(settings, split, 1).snapshot(IDENTITY))
    batches = iter(training_batches(settings, split, 0, 1, 1, 3))
    for _ in range(1, 3):
        second.step(batches)
    ours, theirs = second.snapshot(IDENTITY), whole.snapshot(IDENTITY)
    for found, expected in ((ours.model, theirs.model), (ours.average, theirs.average)):
        assert expected
        assert all(torch.equal(found[name], one) for name, one in expected.items())


def test_before_the_first_step_there_is_none() -> None:
    assert trainer(config()).snapshot(IDENTITY).average == {}
