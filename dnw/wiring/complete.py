"""The complete graph: every legal edge (a baseline of the paper)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from dnw.wiring.edges import Edges
from dnw.wiring.layout import Layout


class CompleteEdges(Edges):
    """Every legal edge."""

    def __init__(
        self, shape: Sequence[int], *, legal: Tensor | None = None, layout: Layout | None = None
    ) -> None:
        """Take all legal positions; see Edges."""
        budget = math.prod(shape) if legal is None else int(legal.sum())
        super().__init__(shape, budget, legal=legal, layout=layout)
        self.mask.fill_(True) if legal is None else self.mask.copy_(legal)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight where it is legal and 0 elsewhere."""
        return weight if self.legal is None else super().forward(weight)
