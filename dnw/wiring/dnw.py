"""Discovering Neural Wirings: the strongest edges are used, all learn (paper, algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dnw.wiring.strongest import StrongestEdges


class DnwEdges(StrongestEdges):
    """Keep the `budget` legal edges of largest magnitude; the gradient reaches every edge unchanged."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight where an edge is chosen and 0 elsewhere; backward is the identity."""
        return straight_through(weight, self.mask)


def straight_through(weight: Tensor, mask: Tensor) -> Tensor:
    """Return the weight where `mask` is True and 0 elsewhere; backward is the identity."""
    effective: Tensor = _StraightThrough.apply(weight, mask)  # type: ignore[no-untyped-call]
    return effective


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        return weight.where(mask, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
