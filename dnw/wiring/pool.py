"""One budget for several weights: how many edges each has is found in training, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dnw.wiring.selection import largest


class Pool:
    """A number of edges that the weights which hold this object have together."""

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def strongest(self, weights: Sequence[Tensor]) -> Iterator[Tensor]:
        """Mark the `budget` largest magnitudes among all entries: for each weight bool of its shape.

        Ties go to the first weight, and in it to the lowest index. Never waits for the device.
        Raises ValueError if there are fewer entries than edges.
        """
        entries = torch.cat([weight.detach().flatten() for weight in weights])
        if entries.numel() < self.budget:
            raise ValueError(f"{self.budget} edges asked for, but there are {entries.numel()} positions")
        parts = largest(entries, None, self.budget).split([weight.numel() for weight in weights])
        return (part.view(weight.shape) for part, weight in zip(parts, weights, strict=True))
