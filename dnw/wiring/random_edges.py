"""A fixed random graph: a baseline of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dnw.wiring import blocks
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
        block: int = 1,
    ) -> None:
        """Keep the edges of `drawn`, bool in the weight's shape; see Edges for the rest."""
        budget = int(drawn.sum())
        super().__init__(drawn.shape, budget, legal=legal, layout=layout, quota=quota, block=block)
        self.mask.copy_(drawn)


def draw(
    shape: Sequence[int],
    budget: int,
    *,
    key: tuple[int, ...],
    legal: Tensor | None = None,
    block: int = 1,
) -> Tensor:
    """Draw exactly `budget` legal edges without replacement, as a pure function of `key`.

    Args:
        shape: of the weight.
        budget: how many edges are drawn.
        key: a few numbers; another key draws other edges.
        legal: where edges may be, bool of `shape`; None: everywhere.
        block: how many neighbouring targets share their sources (dnw/wiring/blocks.py).

    Returns:
        bool of `shape`, on the CPU: True for an edge.
    """
    if block > 1:
        there = torch.ones(tuple(shape), dtype=torch.bool) if legal is None else legal
        drawn = draw_blocks(blocks.by_blocks(there, block), budget, key=key, block=block)
        return blocks.from_blocks(drawn, shape, block)
    drawn = torch.zeros(math.prod(shape), dtype=torch.bool)
    positions = torch.arange(len(drawn)) if legal is None else legal.flatten().nonzero()[:, 0]
    drawn[positions[torch.from_numpy(permutation(len(positions), *key)[:budget])]] = True
    return drawn.view(tuple(shape))


def draw_blocks(there: Tensor, budget: int, *, key: tuple[int, ...], block: int) -> Tensor:
    """Draw blocks, whole but for the last one, until `budget` of the positions that are `there` are drawn.

    Args:
        there: bool, by blocks, of one weight or of several one after the other.
        budget: how many edges are drawn.
        key: as for `draw`.
        block: positions of a block.

    Returns:
        bool, as `there`.
    """
    order = torch.from_numpy(permutation(len(there) // block, *key))
    places = (order[:, None] * block + torch.arange(block)).flatten()
    drawn = torch.zeros_like(there)
    drawn[places[there[places]][:budget]] = True
    return drawn
