"""Edges chosen once, from the weights that another run came to (baselines of the paper).

`fine_tune` trains these weights on; `one_shot` begins again with that run's initial ones, as the lottery
ticket hypothesis does (Frankle and Carbin, ICLR 2019).
"""

from __future__ import annotations

from torch import Tensor

from dnw.wiring.strongest import StrongestEdges


class FixedEdges(StrongestEdges):
    """The strongest edges at the beginning, kept whatever the weights become; only these learn."""

    MASK_IS_SAVED = True

    def begin(self, weight: Tensor) -> None:
        """Take the largest legal magnitudes of `weight`."""
        self.take(self._strongest(weight.detach()), step=0)

    def choose(self, weight: Tensor, step: int) -> None:
        """Stay."""
