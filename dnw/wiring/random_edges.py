"""A fixed random graph: a baseline of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dnw.wiring.edges import Edges
from dnw.wiring.layout import Layout
from shards.rng import permutation


class RandomEdges(Edges):
    """The edges that were drawn, see `draw`; only these learn."""

    def __init__(
        self,
        drawn: Tensor,
        *,
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
    ) -> None:
        """Keep the edges of `drawn`, bool in the weight's shape; see Edges for the rest."""
        super().__init__(drawn.shape, int(drawn.sum()), legal=legal, layout=layout, quota=quota)
        self.mask.copy_(drawn)


def draw(shape: Sequence[int], budget: int, *, key: tuple[int, ...], legal: Tensor | None = None) -> Tensor:
    """Draw exactly `budget` legal edges without replacement, as a pure function of `key`.

    Args:
        shape: of the weight.
        budget: how many edges are drawn.
        key: a few numbers; another key draws other edges.
        legal: where edges may be, bool of `shape`; None: everywhere.

    Returns:
        bool of `shape`, on the CPU: True for an edge.
    """
    drawn = torch.zeros(math.prod(shape), dtype=torch.bool)
    positions = torch.arange(len(drawn)) if legal is None else legal.flatten().nonzero()[:, 0]
    drawn[positions[torch.from_numpy(permutation(len(positions), *key)[:budget])]] = True
    return drawn.view(tuple(shape))
