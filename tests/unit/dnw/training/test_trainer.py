from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from example import train
from torch import nn
from training_steps import steps, trainer

from dnw import models
from dnw.config import Train
from dnw.training.checkpoint import Identity, encode
from dnw.training.data import evaluation_batches, training_batches
from dnw.training.distributed import ALONE
from dnw.training.evaluation import Normalize, evaluate
from dnw.training.trainer import Trainer
from shards.index import Index

IDENTITY = Identity("example", "0", "1", "2")


@pytest.fixture
def split(few_images: Path) -> Index:
    return Index.load(few_images, "train")


def test_step_is_sgd_on_the_mean_over_micro_batches(split: Index) -> None:
    config = train(optim__weight_decay=0.0, optim__momentum=0.0)
    made = steps(config, split, 1)
    plain = models.build(config)
    plain.train()
    normalize = Normalize(config.data.mean, config.data.std, torch.device("cpu"))
    losses = [
        F.cross_entropy(plain(normalize(images)), labels)
        for images, labels, _ in training_batches(config, split, 0, 1, 0, 1)
    ]
    mean = torch.stack(losses).mean()
    torch.autograd.backward(mean)
    for (name, ours), theirs in zip(made.model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad, msg=name)
    loss, _ = made.read_meter()
    assert loss == pytest.approx(mean.item(), rel=1e-5)


def test_wiring_is_chosen_anew_by_every_step(split: Index) -> None:
    before = trainer(train()).current_masks()["graph"]
    after = steps(train(), split, 2).current_masks()["graph"]
    assert before.sum() == after.sum() == 32_000
    assert not torch.equal(before, after)


def test_random_wiring_stays(split: Index) -> None:
    config = train(wiring__name="random")
    assert torch.equal(
        trainer(config).current_masks()["graph"], steps(config, split, 2).current_masks()["graph"]
    )


def test_swapped_counts_edges_since_the_last_call(split: Index) -> None:
    made = steps(train(), split, 2)
    start = trainer(train()).current_masks()["graph"]
    expected = int((made.current_masks()["graph"] & ~start).sum()) / 32_000
    assert made.swapped() == pytest.approx(expected)
    assert expected > 0
    assert made.swapped() == 0


@pytest.mark.parametrize("at", range(5))
def test_restored_at_every_step_it_goes_on_with_the_same_bits(split: Index, at: int) -> None:
    config = train()
    whole = steps(config, split, 5)
    first = steps(config, split, at)
    second = trainer(config)
    second.restore(first.snapshot(IDENTITY))
    batches = iter(training_batches(config, split, 0, 1, at, 5))
    for _ in range(at, 5):
        second.step(batches)
    assert second.position == whole.position
    ours, theirs = second.snapshot(IDENTITY), whole.snapshot(IDENTITY)
    assert all(torch.equal(ours.model[name], value) for name, value in theirs.model.items())
    assert torch.equal(ours.meter, theirs.meter)
    assert second.swapped() == whole.swapped()


def test_snapshot_and_evaluation_in_between_change_nothing(split: Index, few_images: Path) -> None:
    config = train()
    quiet = steps(config, split, 3)
    made = trainer(config)
    batches = iter(training_batches(config, split, 0, 1, 0, 3))
    for _ in range(3):
        made.step(batches)
        made.snapshot(IDENTITY)
        val = evaluation_batches(config, Index.load(few_images, "val"), 0, 1)
        evaluate(made.show_for_evaluation(), val, made.normalize, ALONE)
    ours, theirs = made.snapshot(IDENTITY).model, quiet.snapshot(IDENTITY).model
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def small(config: Train, memory_format: torch.memory_format) -> Trainer:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(10))
    model(torch.zeros(1, 3, config.data.image_size, config.data.image_size))
    return Trainer(config, model.to(memory_format=memory_format), ALONE, samples=120)  # type: ignore[call-overload]


def test_the_optimizer_takes_any_memory_format(split: Index) -> None:
    """It goes over weights, gradients and momentum as they lie in memory, after a restart, too."""
    config = train()
    plain, other, resumed = (
        small(config, one) for one in (torch.contiguous_format, torch.channels_last, torch.channels_last)
    )
    for made, start, stop in ((plain, 0, 4), (other, 0, 2), (resumed, 2, 4)):
        if start:
            made.restore(other.snapshot(IDENTITY))
        batches = iter(training_batches(config, split, 0, 1, start, 4))
        for _ in range(start, stop):
            made.step(batches)
    for ours, theirs in zip(resumed.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, check_stride=False)


def test_a_snapshot_stays_what_it_was(split: Index) -> None:
    """It is written while the training goes on."""
    config = train()
    made = trainer(config)
    batches = iter(training_batches(config, split, 0, 1, 0, 4))
    for _ in range(2):
        made.step(batches)
    taken = made.snapshot(IDENTITY)
    before = encode(taken)
    for _ in range(2):
        made.step(batches)
    made.swapped()
    assert encode(taken) == before
    assert encode(made.snapshot(IDENTITY)) != before


def test_bf16_trains(split: Index) -> None:
    made = steps(train(precision="bf16"), split, 3)
    loss, _ = made.read_meter()
    assert math.isfinite(loss)
    assert all(parameter.dtype == torch.float32 for parameter in made.model.parameters())


def test_rate_follows_the_schedule(split: Index) -> None:
    made = steps(train(steps=4), split, 4)
    assert made.rate == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 3 / 4)))
