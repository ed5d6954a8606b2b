"""AC/DC: phases with the strongest edges alone and phases with every edge, in turn (Peste et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dnw.wiring.scheduled.edges import PrunedEdges


class AcdcEdges(PrunedEdges):
    """Every legal edge at first; then compressed and decompressed in turn, compressed at the end.

    What a compression cuts begins at zero when all edges come back, and the optimizer at rest.
    """

    def __init__(self, shape: Sequence[int], budget: int, *, cycles: int, **given: Any) -> None:
        """Do so `cycles` times from the share `start` of all steps to `until`; see PrunedEdges."""
        super().__init__(shape, budget, **given)
        self._cycles = cycles

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
