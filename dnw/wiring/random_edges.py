"""A fixed random graph: a baseline of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dnw.wiring.edges import Edges
from dnw.wiring.layout import Layout
from shards.rng import permutation


class RandomEdges(Edges):
    """Exactly `budget` edges drawn without replacement, a pure function of `key`; only these learn."""

    def __init__(
        self,
        shape: Sequence[int],
        budget: int,
        *,
        key: tuple[int, ...],
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
    ) -> None:
        """Draw the graph from `key`, say (seed, number of the weight); see Edges for the rest."""
        super().__init__(shape, budget, legal=legal, layout=layout, quota=quota)
        positions = torch.arange(self.mask.numel()) if legal is None else legal.flatten().nonzero()[:, 0]
        drawn = torch.from_numpy(permutation(len(positions), *key)[:budget])
        self.mask.view(-1)[positions[drawn]] = True

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight where an edge was drawn and 0 elsewhere, in the gradient too."""
        return weight.where(self.mask, 0)
