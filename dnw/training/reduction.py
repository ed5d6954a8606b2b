"""How gradients and batch statistics of all micro-batches of a step come together, on every rank.

`Fast` is DistributedDataParallel: partial means travel while the backward still runs. `Exact` adds them up in
an order that no number of processes changes (dnw/training/tree_reduce.py). They agree to rounding. How either
is used:

    for number in range(micro-batches of this rank):
        with reduction.micro_batch(number):
            (loss(reduction.forward(images)) / reduction.divisor).backward()
    reduction.finish()
    optimizer.step()
    reduction.clear()
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dnw.config import ConfigError, Train, listed
from dnw.hardware.precision import autocast
from dnw.training.distributed import World
from dnw.training.optimizer import parameter_names
from dnw.training.running_stats import RunningStatistics
from dnw.training.tree_reduce import TreeSum

# what DDP says, a step late, of parameters that the loss doesn't depend on
_UNUSED = re.compile(r"did not receive grad for rank \d+: ([\d ]+)")
_SHOWN = 4  # names in a message


class Fast:
    """Each rank's mean over its micro-batches, then the mean over ranks as gloo or NCCL sums it."""

    def __init__(self, train: Train, model: nn.Module, running: RunningStatistics, world: World) -> None:
        """Nothing is sent before `begin`."""
        self.forward: nn.Module = model
        self.divisor = train.batch // train.micro_batch // world.size
        self._train = train
        self._model = model
        self._running = running
        self._world = world

    def begin(self) -> None:
        """Go into training, all ranks together, from the first rank's weights."""
        if self._world.size == 1:
            return
        self.forward = DistributedDataParallel(
            self._model, forward_sync_buffers=False, gradient_as_bucket_view=True
        )
        if self._world.size > 2:
            self._settle_buckets()

    def _settle_buckets(self) -> None:
        """Have DDP lay out its buckets anew before the first step instead of after it.

        The layout decides in which order more than two ranks sum; rebuilt after the first backward, the
        first step after a restart would sum in another order than the same step of an undisturbed run.
        """
        size = self._train.data.image_size
        zeros = torch.zeros(self._train.micro_batch, 3, size, size, device=self._world.device)
        self._model.train()
        self._running.train()
        # as every step: fp32 would take more memory
        with autocast(self._train.precision, self._world.device):
            logits_BK = self.forward(zeros)
        logits_BK.sum().backward()
        self.clear()

    @contextlib.contextmanager
    def micro_batch(self, number: int) -> Iterator[None]:
        """Around the forward and backward of micro-batch `number` (from 0) of this rank.

        Raises:
            ConfigError: a parameter takes no part, so that ranks would wait for its gradient.
        """
        self._running.next_micro_batch(number)
        is_last = number == self.divisor - 1
        try:
            with contextlib.nullcontext() if is_last else self._without_sync():
                yield
            self._running.end_micro_batch()
        except RuntimeError as error:
            if found := _UNUSED.search(str(error)):
                raise ConfigError(self._told(found[1])) from error
            raise

    def _told(self, numbers: str) -> str:
        learned = [name for name, one in parameter_names(self._model).items() if one.requires_grad]
        unused = [learned[int(number)] for number in numbers.split()]
        more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
        return (
            f"model={self._train.model.name}: parameters that the loss doesn't depend on can't be trained by "
            f"several processes with reduce=fast: {listed(unused[:_SHOWN])}{more}; leave them out of the "
            "network, or set reduce=exact"
        )

    def _without_sync(self) -> contextlib.AbstractContextManager[None]:
        if isinstance(self.forward, DistributedDataParallel):
            no_sync: contextlib.AbstractContextManager[None] = self.forward.no_sync()
            return no_sync
        return contextlib.nullcontext()

    def finish(self) -> None:
        """Have the mean over all micro-batches in the gradients and in the running statistics."""
        collected = self._running.collected
        if len(collected):
            self._running.step(self._world.sum(collected).div_(self._world.size))

    def clear(self) -> None:
        """Drop the gradients."""
        self._model.zero_grad()


class Exact:
    """The sum of each micro-batch's own gradients and statistics along a tree; see TreeSum.

    All of them stand in one vector. A backward makes gradients of its own, which one call copies there: to
    views of the vector it would add one by one. From `finish` to `clear` the gradients are the views.
    """

    def __init__(self, train: Train, model: nn.Module, running: RunningStatistics, world: World) -> None:
        """Set up the sum; raise ValueError if so many processes can't share the micro-batches."""
        self.forward = model
        self.divisor = train.batch // train.micro_batch
        self._running = running
        self._world = world
        self._parameters = [one for one in model.parameters() if one.requires_grad]
        sizes = [one.numel() for one in self._parameters]
        self._vector = torch.zeros(sum(sizes) + len(running.collected), device=world.device)
        *parts, self._statistics = self._vector.split([*sizes, len(running.collected)])
        self._gradients = [
            part.as_strided(parameter.shape, parameter.stride())
            for part, parameter in zip(parts, self._parameters, strict=True)
        ]
        self._sum = TreeSum(self._vector, self.divisor, world)

    def begin(self) -> None:
        """Go into training, all ranks together, from the first rank's weights."""
        weights = [one.detach() for one in self._parameters]
        torch._foreach_copy_(self._gradients, weights)
        self._world.broadcast_(self._vector)
        torch._foreach_copy_(weights, self._gradients)

    @contextlib.contextmanager
    def micro_batch(self, number: int) -> Iterator[None]:
        """Around the forward and backward of micro-batch `number` (from 0) of this rank."""
        self._running.next_micro_batch(0)  # no mean over several
        yield
        self._running.end_micro_batch()
        self._take_gradients()
        self._statistics.copy_(self._running.collected)
        self._sum.add(number)
        self.clear()

    def _take_gradients(self) -> None:
        places, found = [], []
        for place, parameter in zip(self._gradients, self._parameters, strict=True):
            if parameter.grad is None:  # it took no part
                place.zero_()
            else:
                places.append(place)
                found.append(parameter.grad)
        torch._foreach_copy_(places, found)

    def finish(self) -> None:
        """Have the mean over all micro-batches in the gradients and in the running statistics."""
        self._sum.across()
        self._running.step(self._statistics / self.divisor)
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def clear(self) -> None:
        """Drop the gradients."""
        for parameter in self._parameters:
            parameter.grad = None
