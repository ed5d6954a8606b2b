"""Targeted dropout: weak edges are dropped at random in training, all of them in evaluation.

Gomez et al., "Learning Sparse Networks Using Targeted Dropout", 2019; a baseline of the paper. It drops edges
among the weakest of the whole weight; the regular variant takes the weakest of each row alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dnw.wiring import blocks
from dnw.wiring.layout import Layout
from dnw.wiring.pool import Pool
from dnw.wiring.random_bits import chance
from dnw.wiring.selection import largest_of_rows
from dnw.wiring.strongest import StrongestEdges


class TargetedDropoutEdges(StrongestEdges):
    """The strongest edges, and in each training step some of the other legal ones, its candidates.

    All micro-batches of a step see the same ones, on every rank. `mask` holds the edges of evaluation.
    """

    kept: Tensor  # bool, shape of the weight: the edges of the coming training step

    def __init__(
        self,
        shape: Sequence[int],
        budget: int | Pool,
        *,
        rho: float,
        key: tuple[int, ...],
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
        block: int = 1,
        unsigned: bool = False,
    ) -> None:
        """Drop a candidate with probability `rho`: a pure function of `key`, the step and its index.

        `unsigned` loses the sign of every weight, as the paper's code does. See Edges for the rest.
        """
        super().__init__(shape, budget, legal=legal, layout=layout, quota=quota, block=block)
        self.rho = rho
        self.key = key
        self.unsigned = unsigned
        self.register_buffer("kept", torch.zeros_like(self.mask), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight where an edge is used and 0 elsewhere, in the gradient too."""
        used = self.kept if self.training else self.mask
        return (weight.abs() if self.unsigned else weight).where(used, 0)

    def take(self, mask: Tensor, step: int) -> None:
        """Use the edges of `mask`, and draw the candidates that the step after `step` keeps."""
        super().take(mask, step)
        kept = chance(1 - self.rho, mask.numel(), (*self.key, step), mask.device).view(mask.shape)
        if self.legal is not None:
            kept &= self.legal
        self.kept.copy_(kept | mask)


class RegularTargetedDropoutEdges(TargetedDropoutEdges):
    """Targeted dropout with a budget for each row, which is what a node receives."""

    row_budgets: Tensor  # int64 [rows]

    def __init__(
        self,
        shape: Sequence[int],
        row_budgets: Tensor,
        *,
        rho: float,
        key: tuple[int, ...],
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
        block: int = 1,
        unsigned: bool = False,
    ) -> None:
        """Keep `row_budgets` edges, int64 [shape[0]]; see TargetedDropoutEdges for the rest.

        Raises ValueError if a row has fewer legal positions.
        """
        positions = legal_of_rows(shape, legal)
        if row_budgets.shape != positions.shape or (row_budgets > positions).any():
            raise ValueError(f"row budgets {row_budgets.tolist()} for rows of {positions.tolist()} positions")
        budget = int(row_budgets.sum())
        given: dict[str, Any] = {"legal": legal, "layout": layout, "quota": quota, "block": block}
        super().__init__(shape, budget, rho=rho, key=key, unsigned=unsigned, **given)
        self.register_buffer("row_budgets", row_budgets, persistent=False)
        self._most = int(row_budgets.max())

    def _strongest(self, weight: Tensor, count: int | None = None) -> Tensor:
        if self.block > 1:
            scores = blocks.scores(weight, self.legal, self.block)
            weight = blocks.from_blocks(scores, weight.shape, self.block)
        return largest_of_rows(weight, self.legal, self.row_budgets, self._most)


def legal_of_rows(shape: Sequence[int], legal: Tensor | None) -> Tensor:
    """Count the legal positions of each row of a weight, int64 [rows]."""
    legal = torch.ones(tuple(shape), dtype=torch.bool) if legal is None else legal
    return legal.flatten(1).sum(1)


def share_out(budget: int, positions: Tensor) -> Tensor:
    """Share a budget among rows in proportion to their `positions`, int64 [rows]; it is used up exactly.

    What is left after rounding down goes to the largest remainders, ties to the first row. No row gets more
    than it has.
    """
    total = int(positions.sum())
    shares, remainders = positions * budget // total, positions * budget % total
    left = budget - int(shares.sum())
    shares[remainders.argsort(descending=True, stable=True)[:left]] += 1
    return shares
