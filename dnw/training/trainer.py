"""The training step and the loop around it.

Shapes: B images of a micro-batch, K classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dnw import schedule
from dnw.augmentation.mixing import Mix, mix
from dnw.config import Train, plain
from dnw.hardware.precision import autocast
from dnw.hardware.stragglers import OwnTime
from dnw.models.changing_buffers import find_changing
from dnw.training import machine
from dnw.training.checkpoint import Checkpoint, Identity, Position
from dnw.training.data import Batch
from dnw.training.distributed import World
from dnw.training.evaluation import Normalize, Run, quantize_for_exact_sum
from dnw.training.monitoring.step_profile import Part, no_part
from dnw.training.optimizer import build_optimizer, clip
from dnw.training.reduction import Exact, Fast
from dnw.training.running_stats import RunningStatistics
from dnw.training.weight_average import WeightAverage
from dnw.wiring import Choice, edges_of
from shards.rng import bits

Masks = dict[str, torch.Tensor]
_FORWARD = int.from_bytes(b"forward")  # sets these random numbers apart from all others


class Trainer:
    """A network in training: weights, optimizer, wiring, and how far they have come."""

    def __init__(self, train: Train, model: nn.Module, world: World, samples: int) -> None:
        """Set up training; `samples` is the number of images in the training split."""
        self.train = train
        self.world = world
        self.samples = samples
        self.steps = schedule.total_steps(train, samples)
        self.position = Position(world=world.size)
        self.exempt: frozenset[str] = frozenset()  # buffers that may be inf; see dnw/training/finite.py
        self.model = model.to(world.device)
        self.optimizer = build_optimizer(self.model, train)
        self.running = RunningStatistics(self.model, find_changing(self.model, train, world.device))
        ema = train.optim.ema
        self.average = None if ema is None else WeightAverage(self.model, self.running, ema)
        # loss and top-1, which the ranks add up; micro-batches and loss of this rank alone: see first_lost
        self._sums = torch.zeros(4, dtype=torch.float64, device=world.device)
        self._shared, self._own_loss = self._sums[:2], self._sums[3]
        self._images = 0  # of all ranks, that were summed over
        self.metered_from = 0  # the step since which this process sums
        self.machine = machine.facts(world.device)
        self._replaced: list[int] = []  # samples, by this rank since the last take_replaced
        self._wired = edges_of(self.model)
        self._choice = Choice(self.model, self.steps)
        self.masks: Masks = self.current_masks()
        self.rate = 0.0  # of the last step
        self.normalize = Normalize(train.data.mean, train.data.std, world.device)
        self.own_time: OwnTime | None = None  # measured where somebody compares it
        self.part: Part = no_part  # around each part of a step, where somebody measures them
        self.micro_batches = train.batch // train.micro_batch // world.size  # of a step, of this rank
        reduction = Exact if train.reduce == "exact" else Fast
        self._reduction = reduction(train, self.model, self.running, world)

    def begin(self) -> None:
        """Go into training, all ranks together; after `restore`, if there was anything to restore."""
        self._reduction.begin()
        self._choice.choose(self.position.step)  # from what are the first rank's weights now

    def take_weights(self) -> None:
        """Plan from weights, and edges chosen by them, that came into the network before the first step."""
        self._choice = Choice(self.model, self.steps)
        self.masks = self.current_masks()

    def step(self, micro_batches: Iterator[Batch]) -> None:
        """One optimizer step over one global batch, of which this rank takes its share."""
        self._begin_training()
        for number in range(self.micro_batches):
            self._seed(number)
            with self._reduction.micro_batch(number):
                with self.own_time.measured() if self.own_time else contextlib.nullcontext():
                    with self.part("data"):
                        batch = next(micro_batches)
                    with self.part("forward"):
                        loss = self._loss(batch, number)
                with self.part("backward"):
                    (loss / self._reduction.divisor).backward()
        with self.part("communication"):
            self._reduction.finish()
        with self.part("selection"):
            self._choice.before_step(self.position.step, self.optimizer)
        with self.part("optimizer"):
            self._move_weights()
        done = self.position.step + 1
        with self.part("selection"):
            self._choice.choose(done)
        consumed = self.position.consumed + self.train.batch
        self._images += self.train.batch
        self.position = dataclasses.replace(self.position, step=done, consumed=consumed)

    def _move_weights(self) -> None:
        if self.train.optim.clip_norm is not None:
            clip(self.model, self.train.optim.clip_norm)
        self.rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group.get("lr_factor", 1.0)
        self.optimizer.step()
        self._reduction.clear()
        if self.average is not None:
            self.average.update(self.position.step)

    def _seed(self, number: int) -> None:
        """Have dropout and the like draw the same for a micro-batch of a step, whoever takes it."""
        key = (self.train.seed, _FORWARD, self.position.step, self._in_step(number))
        seed = int(bits(*key, n=1)[0])
        torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device
        if self.world.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _in_step(self, number: int) -> int:
        """Return the number of a micro-batch of this rank among those of all ranks in a step."""
        return self.world.rank * self.micro_batches + number

    def _begin_training(self) -> None:
        if not self.model.training:
            self.model.train()
        self.running.train()

    def _loss(self, batch: Batch, number: int) -> torch.Tensor:
        device = self.world.device
        images_BCHW = batch.images_BCHW.to(device, non_blocking=True)
        labels_B = batch.labels_B.to(device, non_blocking=True)
        self._replaced += batch.replaced_R.tolist()
        normalized_BCHW = self.normalize(images_BCHW)
        if mixed := self._mix(number, normalized_BCHW):
            normalized_BCHW = mixed.images(normalized_BCHW)
        with autocast(self.train.precision, device):
            logits_BK = self._reduction.forward(normalized_BCHW)
        logits_BK = logits_BK.float()
        smoothed = partial(F.cross_entropy, logits_BK, label_smoothing=self.train.optim.label_smoothing)
        if mixed:
            loss, labels_B = mixed.loss(smoothed, labels_B), mixed.shown(labels_B)
        else:
            loss = smoothed(labels_B)
        hits = (logits_BK.detach().argmax(1) == labels_B).sum(dtype=torch.int32)
        mean = loss.detach()
        exact = quantize_for_exact_sum(mean.double(), len(labels_B))
        self._sums += torch.stack([exact, hits, self._own_loss < math.inf, mean])
        return loss

    def _mix(self, number: int, images_BCHW: torch.Tensor) -> Mix | None:
        key = (self.train.seed, self.position.step, self._in_step(number))
        return mix(self.train.augment, key, *images_BCHW.shape[2:])

    def _learning_rate(self) -> float:
        steps_per_epoch = self.samples / self.train.batch
        return schedule.learning_rate(self.train.optim, self.position.step, self.steps, steps_per_epoch)

    def read_meter(self) -> tuple[float, float]:
        """Mean loss and top-1 (percent) over all ranks since the last call; all ranks together.

        What was summed stays, to be looked into, if the loss isn't finite.
        """
        loss, hits = self.world.sum(self._shared).tolist()
        images = self._images
        if math.isfinite(loss):
            self._sums.zero_()
            self._images, self.metered_from = 0, self.position.step
        return loss / images, 100 * hits / images

    @property
    def meter(self) -> torch.Tensor:
        """The sums since the last `read_meter`, as a checkpoint has them: images, loss, top-1."""
        return torch.cat([self._shared.new_full((1,), self._images), self._shared])

    def first_lost(self) -> int:
        """Return the first micro-batch of this rank (from 1) since `metered_from` whose loss isn't finite.

        Counted are those before which the sum of this rank's losses was finite; it stays nan or inf. 0: none.
        """
        *_, count, loss = self._sums.tolist()
        return 0 if math.isfinite(loss) else int(count)

    def take_replaced(self) -> list[int]:
        """Return and count the samples that all ranks replaced since the last call; all call it together."""
        numbers = self.world.gather(self._replaced)
        self._replaced.clear()
        self.position = dataclasses.replace(self.position, replaced=self.position.replaced + len(numbers))
        return numbers

    def show_for_evaluation(self) -> nn.Module:
        """Put the running statistics in place, and return the network."""
        self.running.evaluate(self.position.step)
        return self.model

    def networks(self) -> list[Run]:
        """Return what is evaluated: the network, with running statistics in place, and the average of it."""
        model = self.show_for_evaluation()
        return [model] if self.average is None else [model, self.average]

    def current_masks(self) -> Masks:
        """Which edges each wired weight uses now."""
        return {name: edges.mask.cpu().clone() for name, (_, edges) in self._wired.items()}

    def swapped(self) -> float:
        """Share of the edges that were others at the last call; remembers the present ones."""
        now, before = self.current_masks(), self.masks
        self.masks = now
        edges = sum(int(mask.sum()) for mask in now.values())
        return sum(int((now[name] & ~before[name]).sum()) for name in now) / edges if edges else 0.0

    def gather_meter(self) -> None:
        """Leave the sums of all ranks to the first, for a snapshot; all ranks together."""
        self.world.sum(self._shared)
        if not self.world.is_first:
            self._shared.zero_()

    def snapshot(self, identity: Identity) -> Checkpoint:
        """Copy everything that a later process needs to go on from here to host memory."""
        self.running.evaluate(self.position.step)
        return Checkpoint(
            identity=identity,
            position=dataclasses.replace(self.position, world=self.world.size),
            model=_copied(self.model.state_dict()),
            optimizer=_copied(self.optimizer.state_dict()),
            meter=_copied(self.meter),
            masks=self.masks,
            train=plain(self.train),
            machine=self.machine,
            average=_copied(self.average.state_dict()) if self.average and self.position.step else {},
        )

    def restore(self, saved: Checkpoint) -> None:
        """Go back to where a checkpoint was taken, on any number of processes."""
        self.running.evaluate(saved.position.step)
        self.model.load_state_dict(saved.model)
        self.optimizer.load_state_dict(saved.optimizer)
        if self.average is not None and saved.average:
            self.average.load_state_dict(saved.average)
        self.position = saved.position
        self.metered_from = saved.position.step
        self.masks = saved.masks
        self._images = int(saved.meter[0])
        if self.world.is_first:
            self._shared.copy_(saved.meter[1:])
        self._choice.choose(self.position.step)


def _copied(state: Any) -> Any:
    """Copy a state, nested in dictionaries and lists, with every tensor, to host memory."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list) else state
