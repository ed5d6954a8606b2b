"""The exponential moving average of the weights of a network in training (optim.ema).

After step t (from 0) the average keeps the share min(ema, t / (t + 9)) of itself, and takes the rest from the
weights: the first steps, in which these change most, would else be in it for 1 / (1 - ema) steps. So it is a
function of the steps alone, and the first of them leaves nothing of what a network begins with. Running
statistics of norms, and other buffers that change in forward, are averaged with the weights that they belong
to. Edges are not: the average has those that the weights in training have at the same step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dnw.training.running_stats import RunningStatistics

_RISES_OVER = 9  # steps: how slowly the share rises to `ema`


class WeightAverage:
    """The average of a network's parameters and running statistics, by their names in its state dict."""

    def __init__(self, model: nn.Module, running: RunningStatistics, ema: float) -> None:
        """Set it up; it holds nothing before the first `update`."""
        self._model = model
        self._ema = ema
        parameters = {name: one.detach() for name, one in model.named_parameters()}
        parameters |= {name: one for name, one in running.others.kept.items() if one.is_floating_point()}
        self._now = [*parameters.values(), running.current]
        self._average = [one.clone() for one in self._now]
        self._named = dict(zip(parameters, self._average, strict=False))
        self._named |= running.named(self._average[-1])

    def update(self, step: int) -> None:
        """Take in what step `step` (from 0) has come to."""
        kept = min(self._ema, step / (step + _RISES_OVER))
        get_ema_multi_avg_fn(kept)(self._average, self._now, step)

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return what the network gives with the averaged weights, logits [B, classes]; it keeps its own."""
        logits_BK: Tensor = functional_call(self._model, self._named, (x_BCHW,))
        return logits_BK

    def state_dict(self) -> dict[str, Tensor]:
        """Return what is averaged, by the names of the network's state dict."""
        return self._named

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` returned."""
        with torch.no_grad():
            for name, tensor in self._named.items():
                tensor.copy_(saved[name])
