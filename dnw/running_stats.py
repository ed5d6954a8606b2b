"""BatchNorm's running statistics, independent of the number of processes.

Each norm normalizes with the statistics of its own micro-batch. The running statistics, which evaluation
uses, are one exponential average per optimizer step over the mean of the batch statistics of all
micro-batches of all ranks; PyTorch alone would average over rank 0's micro-batches, one after the other.

In training the norms write into a scratch vector: with momentum 1/k at the k-th micro-batch, that is the
plain mean over the micro-batches of this rank. One sum over the ranks then covers all norms at once.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dnw.distributed import World


class RunningStatistics:
    """The running means and variances of all BatchNorm layers of a model, as one vector."""

    def __init__(self, model: nn.Module, momentum: float = 0.1) -> None:
        """Take over the statistics of `model`; they stay readable in it between `evaluate` and `train`."""
        self._norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self._momentum = momentum
        device = next(model.parameters()).device
        size = 2 * sum(norm.num_features for norm in self._norms)
        self._running = torch.empty(size, device=device)
        self._scratch = torch.zeros(size, device=device)
        self._number = 0
        for norm, (mean, var) in zip(self._norms, self._views(self._running), strict=True):
            mean.copy_(_present(norm.running_mean))
            var.copy_(_present(norm.running_var))
        self._collecting = False
        self._point_at(self._running)
        self._set_momentum(1.0)

    def train(self) -> None:
        """Let the norms collect the statistics of the micro-batches to come."""
        if not self._collecting:
            self._point_at(self._scratch)
            self._collecting = True

    def evaluate(self, step: int) -> None:
        """Show the running statistics in the model, as a state dict has them, after `step` steps."""
        self._point_at(self._running)
        self._collecting = False
        for norm in self._norms:
            _present(norm.num_batches_tracked).fill_(step)

    def next_micro_batch(self, number: int) -> None:
        """Say that micro-batch `number` (from 0) of this rank's share of the step comes next."""
        if number != self._number:
            self._set_momentum(1.0 / (number + 1))
            self._number = number

    def step(self, world: World) -> None:
        """Fold the statistics of the step into the running ones; all ranks together."""
        if self._norms:
            mean = world.sum(self._scratch).div_(world.size)
            self._running.lerp_(mean, self._momentum)

    def _set_momentum(self, momentum: float) -> None:
        for norm in self._norms:
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
