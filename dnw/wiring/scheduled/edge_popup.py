"""Edge-popup: a subnetwork of random weights, which are never trained (Ramanujan et al. 2020, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnw.wiring.strongest import StrongestEdges
from shards.rng import permutation


class EdgePopupEdges(StrongestEdges):
    """The edges of largest score; what is trained are the scores, by the gradient that reaches all of them.

    The raw weight holds the scores, `frozen` the weights that the network began with. Norms, biases and
    layers that aren't wired are trained as ever.
    """

    frozen: Tensor  # float, shape of the weight

    def __init__(self, shape: Sequence[int], budget: int, *, key: tuple[int, ...], **given: Any) -> None:
        """Draw the first scores by `key`, a few numbers; see Edges for the rest."""
        super().__init__(shape, budget, **given)
        self._key = key
        self.register_buffer("frozen", torch.zeros(tuple(shape)))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the frozen weight where an edge is chosen and 0 elsewhere."""
        effective: Tensor = _Popup.apply(weight, self.frozen, self.mask)  # type: ignore[no-untyped-call]
        return effective

    def begin(self, weight: Tensor) -> None:
        """Freeze the weight and put scores in its place, uniform as torch's layers begin."""
        self.frozen.copy_(weight)
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        ranks = permutation(weight.numel(), *self._key).astype(np.float64)
        scores = ((2 * ranks + 1) / weight.numel() - 1) * bound
        weight.copy_(torch.from_numpy(scores).view(weight.shape))
        self.choose(weight, step=0)


class _Popup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, frozen: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(frozen)
        return frozen.where(mask, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (frozen,) = ctx.saved_tensors
        return gradients[0] * frozen, None, None
