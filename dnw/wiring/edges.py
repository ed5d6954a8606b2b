"""The base of all wirings: which edges of a weight exist."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnw.wiring.layout import Layout


class Edges(nn.Module):
    """A parametrization of a weight that keeps `budget` of its edges.

    Works on a weight of any shape. Which edges are kept changes in `choose` alone, so every forward between
    two optimizer steps, training or evaluation, sees the same graph.
    """

    mask: Tensor  # bool, shape of the weight: the chosen edges
    legal: Tensor | None  # bool, shape of the weight; None: every position is legal

    def __init__(
        self,
        shape: Sequence[int],
        budget: int,
        *,
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
    ) -> None:
        """Wire a weight of `shape`; `mask` is all False until edges are chosen.

        `quota` is the unrounded budget of the paper's code, given where its arithmetic is to be reproduced.
        Raises ValueError if `legal` has another shape, or fewer than `budget` positions.
        """
        super().__init__()
        if legal is not None and legal.shape != torch.Size(shape):
            raise ValueError(f"legal has shape {tuple(legal.shape)}, the weight {tuple(shape)}")
        positions = math.prod(shape) if legal is None else int(legal.sum())
        if not 1 <= budget <= positions:
            raise ValueError(f"{budget} edges asked for, but there are 1 to {positions} legal ones")
        self.budget = budget
        self.layout = layout
        self.quota = quota
        self.register_buffer("mask", torch.zeros(tuple(shape), dtype=torch.bool), persistent=False)
        self.register_buffer("legal", legal, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the effective weight, same shape: zero wherever there is no edge."""
        raise NotImplementedError

    def choose(self, weight: Tensor, step: int) -> None:
        """Recompute `mask` from the raw weight, after optimizer step `step` or after loading.

        Never waits for the device. A fixed wiring has nothing to do.
        """

    def extra_repr(self) -> str:
        """Show the budget in print(model)."""
        return f"budget={self.budget}, shape={tuple(self.mask.shape)}"
