"""Nothing that a training step computes comes from memory that nobody has written.

Deterministic kernels fill new tensors with NaN (integers with their largest value) unless that is turned off,
as the worker does. Steps with and without must give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from example import train
from torch import Tensor

from dnw import models
from dnw import train as worker
from dnw.config import Train
from dnw.models import mobilenet
from dnw.training.data import Batch
from dnw.training.distributed import ALONE
from dnw.training.evaluation import evaluate
from dnw.training.trainer import Trainer

FILLING: Any = torch.utils.deterministic  # its attribute is a property that no type checker sees
STEPS = 2
SMALL_BLOCKS = ((8, 16, 1, 1), (16, 32, 2, 2), (32, 64, 2, 3))
EXACT = {"reduce": "exact"}
RESNET = {"model__name": "resnet18", "width": None, "sparsity": 0.9}


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode("default")
    FILLING.fill_uninitialized_memory = True  # torch's default


def trained(settings: Train, fill: bool) -> tuple[list[Tensor], float]:
    """All that a checkpoint keeps, and the loss in evaluation, after a few steps."""
    FILLING.fill_uninitialized_memory = fill
    trainer = Trainer(settings, models.build(settings), ALONE, 1000)
    trainer.begin()
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=draw)
    batch = Batch(images, torch.arange(4), torch.empty(0, dtype=torch.int64))
    for _ in range(STEPS):
        trainer.step(iter([batch, batch]))
    found = evaluate(trainer.show_for_evaluation(), [batch], trainer.normalize, ALONE, settings.precision)
    momenta = [state["momentum_buffer"] for state in trainer.optimizer.state.values()]
    return [*trainer.model.state_dict().values(), *momenta, trainer.meter], found.loss


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"wiring__name": "td"}, {"model__name": "discrete"},
        {**EXACT, "model__name": "mobilenet"},
        {"model__name": "mobilenet", "model__small": True, "precision": "bf16"},
        RESNET,
    ],
    ids=str,
)  # fmt: skip
def test_steps_give_the_same_bits_with_and_without_filling(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.setattr(mobilenet, "BLOCKS", SMALL_BLOCKS)
    monkeypatch.setattr(mobilenet, "FEATURES", SMALL_BLOCKS[-1][1])
    settings = train(batch=8, micro_batch=4, optim__lr=1e-3, **changes)
    filled, its_loss = trained(settings, fill=True)
    left, loss = trained(settings, fill=False)
    assert len(filled) == len(left)
    for one, other in zip(filled, left, strict=True):
        assert torch.equal(one, other)
        assert one.isfinite().all()
    assert math.isfinite(loss)
    assert loss == its_loss


def test_a_read_of_what_nobody_has_written_would_be_seen() -> None:
    FILLING.fill_uninitialized_memory = True
    assert torch.empty(3).isnan().all()


def test_the_worker_doesnt_fill() -> None:
    assert FILLING.fill_uninitialized_memory
    with torch.random.fork_rng():
        worker.configure(train(threads=torch.get_num_threads()))
    assert torch.get_deterministic_debug_mode() == 2
    assert not FILLING.fill_uninitialized_memory
