"""The base of all wirings: which edges of a weight exist."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnw.wiring import blocks
from dnw.wiring.layout import Layout
from dnw.wiring.pool import Pool


class Edges(nn.Module):
    """A parametrization of a weight that keeps some of its entries, the edges.

    Works on a weight of any shape. Which edges are kept changes in `begin` and `choose` alone, so every
    forward between two optimizer steps, training or evaluation, sees the same graph.
    """

    MASK_IS_SAVED = False  # whether the mask is part of the state dict: where no weights at hand tell it
    mask: Tensor  # bool, shape of the weight: the chosen edges
    legal: Tensor | None  # bool, shape of the weight; None: every position is legal
    there: Tensor | None  # bool, by blocks: what is legal, where edges are chosen in blocks; None: all

    def __init__(
        self,
        shape: Sequence[int],
        budget: int | Pool,
        *,
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
        block: int = 1,
    ) -> None:
        """Wire a weight of `shape`; `mask` is all False until edges are chosen.

        Args:
            shape: of the weight.
            budget: the number of edges, or the pool that the weight shares one with.
            legal: where edges may be, bool of `shape`; None: everywhere.
            layout: of the nodes of a graph; None for any other weight.
            quota: the unrounded budget of the paper's code, where its arithmetic is to be reproduced.
            block: how many neighbouring targets share their sources (dnw/wiring/blocks.py); 1: none.

        Raises:
            ValueError: `legal` has another shape, fewer than `budget` positions, or comes with a pool.
        """
        super().__init__()
        if legal is not None and legal.shape != torch.Size(shape):
            raise ValueError(f"legal has shape {tuple(legal.shape)}, the weight {tuple(shape)}")
        if legal is not None and isinstance(budget, Pool):
            raise ValueError("in a pool every position is legal: give this weight a budget of its own")
        positions = math.prod(shape) if legal is None else int(legal.sum())
        if not isinstance(budget, Pool) and not 0 <= budget <= positions:
            raise ValueError(f"{budget} edges asked for, but there are 0 to {positions} legal ones")
        self.pool = budget if isinstance(budget, Pool) else None
        self._budget = None if isinstance(budget, Pool) else budget
        self.layout = layout
        self.quota = quota
        self.block = block
        mask = torch.zeros(tuple(shape), dtype=torch.bool)
        self.register_buffer("mask", mask, persistent=self.MASK_IS_SAVED)
        self.register_buffer("legal", legal, persistent=False)
        there = blocks.there(shape, legal, block) if block > 1 else None
        self.register_buffer("there", there, persistent=False)

    @property
    def budget(self) -> int:
        """The number of edges; of a weight in a pool as it is now, which waits for the device."""
        return int(self.mask.sum()) if self._budget is None else self._budget

    def forward(self, weight: Tensor) -> Tensor:
        """Return the effective weight, same shape: zero wherever there is no edge, in the gradient too."""
        return weight.where(self.mask, 0)

    def begin(self, weight: Tensor) -> None:
        """Choose edges for the first time, from the raw weight as it is before the first step."""
        self.choose(weight, step=0)

    def plan(self, weight: Tensor, steps: int) -> None:
        """Learn how many optimizer steps the run has, before the first one; `weight` is the raw one."""

    def choose(self, weight: Tensor, step: int) -> None:
        """Recompute `mask` from the raw weight, after optimizer step `step` or after loading.

        Never waits for the device. A wiring that stays has nothing to do.
        """

    def extra_repr(self) -> str:
        """Show the budget in print(model)."""
        shape = tuple(self.mask.shape)
        return f"budget={self.budget if self.pool is None else self.pool.budget}, shape={shape}"
