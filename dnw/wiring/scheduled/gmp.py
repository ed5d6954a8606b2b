"""Gradual magnitude pruning: from every edge to the budget along a cubic (Zhu and Gupta 2017, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dnw.wiring.scheduled.edges import PrunedEdges


class GmpEdges(PrunedEdges):
    """The strongest edges, fewer and fewer of them; the gradient reaches these alone.

    An edge that was cut keeps its weight, which only momentum and decay move: at a later cut it may come
    back, as in the paper's code.
    """

    def __init__(self, shape: Sequence[int], budget: int, *, every: int, **given: Any) -> None:
        """Cut every `every` steps from the share `start` of all steps to `until`; see PrunedEdges."""
        super().__init__(shape, budget, **given)
        self._every = every
        self._all = self.positions

    def is_due(self, step: int) -> bool:
        """Return whether edges are cut: each `every` steps from the first cut on, and at the end."""
        return step == self.end or (
            self._first <= step < self.end and (step - self._first) % self._every == 0
        )

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Keep the strongest."""
        self.take(self._strongest(weight.detach(), self.edges_at(step)), step)

    def edges_at(self, step: int) -> int:
        """Return how many edges there are after a cut at `step`, rounded up.

        In shares of the weights: s_f + (s_0 - s_f) (1 - (t - t_0) / (n dt))^3 are pruned, with s_0 = 0.
        """
        left, span = self.end - step, self.end - self._first
        if left <= 0:
            return self.budget
        return self.budget - (-(self._all - self.budget) * left**3 // span**3)
