"""One budget for several weights: how many edges each has is found in training, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dnw.wiring import blocks
from dnw.wiring.selection import largest


class Pool:
    """A number of edges that the weights which hold this object have together."""

    def __init__(self, budget: int, block: int = 1) -> None:
        """Share `budget` edges, chosen in blocks of so many targets (dnw/wiring/blocks.py)."""
        self.budget = budget
        self.block = block

    def strongest(self, weights: Sequence[Tensor]) -> Iterator[Tensor]:
        """Mark the `budget` largest magnitudes among all entries: for each weight bool of its shape.

        Ties go to the first weight, and in it to the lowest index. Never waits for the device.
        Raises ValueError if there are fewer entries than edges.
        """
        positions = sum(weight.numel() for weight in weights)
        if positions < self.budget:
            raise ValueError(f"{self.budget} edges asked for, but there are {positions} positions")
        if self.block > 1:
            return self._strongest_blocks(weights)
        entries = torch.cat([weight.detach().flatten() for weight in weights])
        parts = largest(entries, None, self.budget).split([weight.numel() for weight in weights])
        return (part.view(weight.shape) for part, weight in zip(parts, weights, strict=True))

    def _strongest_blocks(self, weights: Sequence[Tensor]) -> Iterator[Tensor]:
        scores = [blocks.scores(weight, None, self.block) for weight in weights]
        there = [
            blocks.by_blocks(torch.ones_like(weight, dtype=torch.bool), self.block) for weight in weights
        ]
        parts = largest(torch.cat(scores), torch.cat(there), self.budget).split([len(one) for one in scores])
        pairs = zip(parts, weights, strict=True)
        return (blocks.from_blocks(part, weight.shape, self.block) for part, weight in pairs)
