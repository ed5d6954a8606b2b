"""AC/DC: phases with the strongest edges alone and phases with every edge, in turn (Peste et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dnw.wiring.scheduled.edges import ScheduledEdges, share_of


class AcdcEdges(ScheduledEdges):
    """Every legal edge at first; then compressed and decompressed in turn, compressed at the end.

    What a compression cuts begins at zero when all edges come back, and the optimizer at rest.
    """

    def __init__(
        self, shape: Sequence[int], budget: int, *, cycles: int, start: float, until: float, **given: Any
    ) -> None:
        """Do so `cycles` times from the share `start` of all steps to `until`; see Edges for the rest."""
        super().__init__(shape, budget, until=until, **given)
        self._cycles = cycles
        self._start = start
        self._first = 0

    def plan(self, weight: Tensor, steps: int) -> None:
        """Begin with every legal edge."""
        super().plan(weight, steps)
        self._first = min(share_of(self._start, steps), self.end)
        self._everywhere()

    def is_due(self, step: int) -> bool:
        """Return whether a phase begins."""
        return step in self.phases()

    def phases(self) -> dict[int, bool]:
        """Return by the steps before which phases begin whether it is a compressed one; equally long."""
        span, count = self.end - self._first, 2 * self._cycles
        return {self._first + span * number // count: number % 2 == 0 for number in range(count + 1)}

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Keep the strongest alone, or every edge."""
        if self.phases()[step]:
            self._exchange(self._strongest(weight.detach()).clone(), weight, slots)
            return
        self._everywhere()
        for slot in slots:
            slot.zero_()
