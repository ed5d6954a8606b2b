"""The strongest edges of a weight, those of largest magnitude."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from dnw.wiring import blocks
from dnw.wiring.edges import Edges
from dnw.wiring.selection import LegalPositions, largest


class StrongestEdges(Edges):
    """Keep the `budget` legal edges of largest magnitude, or what a pool gives to this weight."""

    def choose(self, weight: Tensor, step: int) -> None:
        """Take the largest legal magnitudes of `weight`, ties to the lowest index."""
        self.take(self._strongest(weight.detach()), step)

    def take(self, mask: Tensor, step: int) -> None:
        """Use the edges of `mask` from step `step` on."""
        if mask is not self.mask:
            self.mask.copy_(mask)

    def _strongest(self, weight: Tensor, count: int | None = None) -> Tensor:
        """Mark the largest legal magnitudes, `count` of them; None: the budget."""
        count = self.budget if count is None else count
        positions = self._legal_positions if weight.device.type == "cpu" else None
        if self.block == 1:
            return largest(weight, self.legal, count, positions=positions, out=self.mask)
        scores = blocks.scores(weight, self.legal, self.block)
        chosen = largest(scores, self.there, count, positions=positions)
        return blocks.from_blocks(chosen, weight.shape, self.block)

    @cached_property
    def _legal_positions(self) -> LegalPositions:
        if self.block == 1:
            return LegalPositions(self.mask.shape, self.legal)
        return LegalPositions(blocks.by_blocks(self.mask, self.block).shape, self.there)
