"""What rigl and set share: some edges are dropped, and as many grown elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dnw.wiring.scheduled.edges import ScheduledEdges
from dnw.wiring.selection import largest


class ExchangedEdges(ScheduledEdges):
    """As many edges throughout, of which the weakest are replaced every few steps.

    Grown ones begin at zero, without momentum; an edge that is dropped and grown at once goes on as it was.
    Whatever is no edge is zero, so neither decay nor the optimizer's norms see it.
    """

    def __init__(self, drawn: Tensor, *, every: int, drop: float, until: float, **given: Any) -> None:
        """Begin with the edges of `drawn`, bool in the weight's shape.

        Args:
            drawn: the first edges.
            every: steps from one exchange to the next.
            drop: share of the edges that are dropped, at the first exchange.
            until: share of all steps after which edges stay.
            given: see Edges.
        """
        super().__init__(drawn.shape, int(drawn.sum()), until=until, **given)
        self._every = every
        self._drop = drop
        self.mask.copy_(drawn)

    def begin(self, weight: Tensor) -> None:
        """Have nothing but the drawn edges."""
        weight.masked_fill_(~self.mask, 0)

    def is_due(self, step: int) -> bool:
        """Return whether edges are exchanged: each `every` steps until the end, but not before any step."""
        return 0 < step < self.end and step % self._every == 0

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Drop the weakest, ties to the highest index, and grow as many, ties to the lowest."""
        count = int(self.share_at(step) * self.budget)
        kept = largest(weight.detach(), self.mask, self.budget - count)
        free = ~kept if self.legal is None else self.legal & ~kept
        grown = largest(self._worth(weight, step), free, count)
        self._exchange(kept | grown, weight, slots)

    def share_at(self, step: int) -> float:
        """Return the share of the edges that is exchanged at `step`."""
        return self._drop

    def _worth(self, weight: Tensor, step: int) -> Tensor:
        """Return what is largest, by magnitude, where edges are to grow."""
        raise NotImplementedError
