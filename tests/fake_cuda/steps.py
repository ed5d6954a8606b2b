"""One training step, and one batch of an evaluation, of any configuration on the fake device.

Shapes: B images of a micro-batch, H = W pixels.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from dnw import models
from dnw.config import Train
from dnw.models import continuous
from dnw.training.data import Batch
from dnw.training.distributed import World
from dnw.training.evaluation import Interrupted, evaluate
from dnw.training.trainer import Trainer

from .device import DEVICE, fake_cuda
from .group import group
from .trace import Counts, Trace

SAMPLES = 1000  # of the training split


class Traced(NamedTuple):
    """What was traced of a network in training."""

    training: Counts  # a step
    evaluation: Counts  # a batch


def traced(train: Train, world_size: int = 1, rank: int = 0) -> Traced:
    """Trace one step of a rank among `world_size`, and after it one batch of an evaluation.

    A state that isn't on the device after the step is a fault.
    """
    with _trainer(train, world_size, rank) as trainer:
        step = _step(trainer)
        return Traced(step, _evaluation(trainer))


def _step(trainer: Trainer) -> Counts:
    batches = _batches(trainer.train.micro_batch, trainer.train)
    with Trace(DEVICE) as trace:
        trainer.step(batches)
    trace.counts.faults += _elsewhere(trainer)
    return trace.counts


def _evaluation(trainer: Trainer) -> Counts:
    train, model = trainer.train, trainer.show_for_evaluation()
    batches = _batches(train.eval_batch, train)
    asked = itertools.count()
    with Trace(DEVICE) as trace, contextlib.suppress(Interrupted):
        evaluate(
            *(model, batches, trainer.normalize, trainer.world),
            precision=train.precision,
            should_stop=lambda: next(asked) == 1,
        )
    return trace.counts


@contextlib.contextmanager
def _trainer(train: Train, world_size: int, rank: int) -> Iterator[Trainer]:
    """A network about to train, on a process of a group that sends nothing."""
    torch.set_deterministic_debug_mode("error" if train.deterministic else "default")
    model = models.build(train)
    continuous.odeint = _one_step  # type: ignore[attr-defined]
    world = World(rank=rank, size=world_size, nodes=1, device=DEVICE)
    with group(world), fake_cuda():
        trainer = Trainer(train, model, world, SAMPLES)
        trainer.begin()
        yield trainer


def _one_step(
    change: Callable[..., torch.Tensor], x: torch.Tensor, times: torch.Tensor, **_: Any
) -> torch.Tensor:
    """Stand for the solver, which reads its error after each of its steps: without numbers it can't."""
    return torch.stack([x, x + change(times[0], x)])


def _batches(images: int, train: Train) -> Iterator[Batch]:
    """Batches as loaders give them, endlessly: on the CPU, the colours of a pixel side by side."""
    side = train.data.image_size
    images_BCHW = torch.empty(images, side, side, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    labels_B = torch.zeros(images, dtype=torch.int64)
    return itertools.repeat(Batch(images_BCHW, labels_B, torch.zeros(0, dtype=torch.int64)))


def _elsewhere(trainer: Trainer) -> list[str]:
    """What belongs on the device and isn't there, each as a fault."""
    tensors = dict(trainer.model.state_dict(keep_vars=True))
    tensors |= {f"buffer {name}": buffer for name, buffer in trainer.model.named_buffers()}
    for number, state in enumerate(trainer.optimizer.state.values()):
        tensors |= {f"optimizer {number} {key}": value for key, value in state.items()}
    tensors["meter"] = trainer.meter
    tensors["running statistics"] = trainer.running.collected
    return [
        f"{name} is on {tensor.device}"
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor) and tensor.device != DEVICE
    ]
