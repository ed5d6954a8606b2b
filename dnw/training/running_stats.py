"""BatchNorm's running statistics, independent of the number of processes.

Each norm normalizes with the statistics of its own micro-batch. The running statistics, which evaluation
uses, are one exponential average per optimizer step over the mean of the batch statistics of all
micro-batches of all ranks; PyTorch alone would average over rank 0's micro-batches, one after the other.

In training the norms write into a scratch vector. With momentum 1/k at the k-th micro-batch, that is the
plain mean over the micro-batches of this rank; where each is said to be the first, it is that one's own.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dnw.models.changing_buffers import ChangingBuffers


class RunningStatistics:
    """The running means and variances of all BatchNorm layers of a model, as one vector.

    Each layer keeps its own momentum; without one its running statistics are the plain mean over all steps.
    With them go other buffers that the network changes in its forward.
    """

    def __init__(self, model: nn.Module, changing: Iterable[str] = ()) -> None:
        """Take over the statistics of `model`; they stay readable in it between `evaluate` and `train`.

        `changing` are the names of those other buffers.
        """
        norms = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats
        }
        self._names, self._norms = list(norms), list(norms.values())
        self._momenta = [norm.momentum for norm in self._norms]
        device = next(model.parameters()).device
        size = 2 * sum(norm.num_features for norm in self._norms)
        self.others = ChangingBuffers(model, changing)
        self._running = torch.empty(size, device=device)
        # of the micro-batches of this step, of this rank
        self.collected = torch.zeros(size + self.others.size, device=device)
        self._of_norms, self._of_others = self.collected.split([size, self.others.size])
        self._share = torch.empty(size, device=device)  # of a step in the running statistics
        for norm, (mean, var) in zip(self._norms, self._views(self._running), strict=True):
            mean.copy_(_present(norm.running_mean))
            var.copy_(_present(norm.running_var))
        for momentum, shares in zip(self._momenta, self._views(self._share), strict=True):
            for share in shares:
                share.fill_(momentum or 0.0)
        self._steps = 0
        self._number = 0
        self._collecting = False
        self._point_at(self._running)

    @property
    def current(self) -> torch.Tensor:
        """All of the norms' as one vector, always the same memory."""
        return self._running

    def named(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parts of such a vector by their names in the state dict of the model."""
        pairs = zip(self._names, self._views(flat), strict=True)
        return {
            f"{name}.running_{kind}": part
            for name, (mean, var) in pairs
            for kind, part in (("mean", mean), ("var", var))
        }

    def train(self) -> None:
        """Let the norms collect the statistics of the micro-batches to come."""
        if not self._collecting:
            self._point_at(self._of_norms)
            self._set_momenta([1.0 / (self._number + 1)] * len(self._norms))
            self._collecting = True
            self.others.renew()

    def evaluate(self, step: int) -> None:
        """Show the running statistics in the model, as a state dict has them, after `step` steps."""
        self._point_at(self._running)
        self.others.show()
        self._set_momenta(self._momenta)
        self._collecting = False
        self._steps = step
        for norm in self._norms:
            _present(norm.num_batches_tracked).fill_(step)

    def next_micro_batch(self, number: int) -> None:
        """Say that micro-batch `number` (from 0) of this rank's share of the step comes next."""
        if number != self._number:
            self._set_momenta([1.0 / (number + 1)] * len(self._norms))
            self._number = number
        self.others.renew()

    def end_micro_batch(self) -> None:
        """Take in what the network has made of its other buffers in the micro-batch that came last."""
        if self.others.size:
            self.others.collect(self._of_others, self._number)

    def step(self, mean: torch.Tensor) -> None:
        """Fold in the statistics of a step: the mean over all micro-batches of all ranks."""
        for momentum, shares in zip(self._momenta, self._views(self._share), strict=True):
            if momentum is None:
                for share in shares:
                    share.fill_(1.0 / (self._steps + 1))
        if self.others.size:
            mean, others = mean.split([len(self._running), self.others.size])
            self.others.keep(others)
        self._running.lerp_(mean, self._share)
        self._steps += 1

    def _set_momenta(self, momenta: list[float | None]) -> None:
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum

    def _point_at(self, flat: torch.Tensor) -> None:
        for norm, (mean, var) in zip(self._norms, self._views(flat), strict=True):
            norm.running_mean, norm.running_var = mean, var

    def _views(self, flat: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        parts = flat.split([norm.num_features for norm in self._norms for _ in range(2)])
        return list(zip(parts[::2], parts[1::2], strict=True))


def _present(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor
