"""Edges chosen once, from the weights that another run came to (baselines of the paper).

`fine_tune` trains these weights on; `one_shot` begins again with that run's initial ones, as the lottery
ticket hypothesis does (Frankle and Carbin, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dnw.wiring.layout import Layout
from dnw.wiring.pool import Pool
from dnw.wiring.strongest import StrongestEdges


class FixedEdges(StrongestEdges):
    """The strongest edges at the beginning, kept whatever the weights become; only these learn.

    No weight at hand tells them later, so the mask is part of the state dict.
    """

    def __init__(
        self,
        shape: Sequence[int],
        budget: int | Pool,
        *,
        legal: Tensor | None = None,
        layout: Layout | None = None,
        quota: float | None = None,
    ) -> None:
        super().__init__(shape, budget, legal=legal, layout=layout, quota=quota)
        self.register_buffer("mask", self.mask, persistent=True)

    def begin(self, weight: Tensor) -> None:
        """Take the largest legal magnitudes of `weight`."""
        self.take(self._strongest(weight.detach()), step=0)

    def choose(self, weight: Tensor, step: int) -> None:
        """Stay."""
