"""RigL: the weakest edges are dropped, those of largest gradient grown (Evci et al. 2020, section 3)."""

from __future__ import annotations

import math

from torch import Tensor

from dnw.wiring.dnw import straight_through
from dnw.wiring.scheduled.exchange import ExchangedEdges


class RiglEdges(ExchangedEdges):
    """Edges that grow where the gradient of the whole batch is largest.

    In a step before which edges are exchanged the gradient reaches every position, at no other one: all that
    an exchange costs is its own step's. The paper leaves the weights as they are in that step; here the
    edges that stay take it, so that every wiring does as many steps.
    """

    _is_dense = False

    def choose(self, weight: Tensor, step: int) -> None:
        """Have the gradient of the coming step reach what that step may grow."""
        self._is_dense = self.is_due(step)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight where there is an edge and 0 elsewhere."""
        return straight_through(weight, self.mask) if self._is_dense else super().forward(weight)

    def share_at(self, step: int) -> float:
        """Return the share that is exchanged: from `drop` it falls to 0 at the end, along a cosine."""
        return self._drop / 2 * (1 + math.cos(math.pi * step / self.end))

    def _worth(self, weight: Tensor, step: int) -> Tensor:
        if weight.grad is None:
            raise ValueError("edges grow by the gradient: change them after the backward pass")
        return weight.grad
