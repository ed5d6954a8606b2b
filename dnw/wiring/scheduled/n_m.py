"""n of m: of each m neighbouring inputs a target has edges from n, which some hardware computes fast.

Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dnw.wiring.dnw import straight_through
from dnw.wiring.scheduled.edges import ScheduledEdges


class NmEdges(ScheduledEdges):
    """The n strongest of each m neighbours along the inputs, chosen anew after each step.

    The gradient reaches every position unchanged; what isn't chosen is drawn to zero besides (SR-STE,
    equation 9).
    """

    MASK_IS_SAVED = False

    def __init__(
        self, shape: Sequence[int], budget: int, *, n: int, m: int, sr_ste: float, **given: Any
    ) -> None:
        """Keep n of m; `sr_ste` times what isn't chosen is added to the gradient, 0: nothing. See Edges.

        Raises ValueError if m inputs aren't always legal together, or the budget is another.
        """
        super().__init__(shape, budget, until=1.0, **given)
        self._n, self._m, self._sr_ste = n, m, sr_ste
        if shape[1] % m:
            raise ValueError(f"{shape[1]} inputs are no groups of {m}")
        legal = self._grouped(
            torch.ones(tuple(shape), dtype=torch.bool) if self.legal is None else self.legal
        )
        if not torch.equal(legal.any(-1), legal.all(-1)):
            raise ValueError(f"some of {m} neighbouring inputs are legal, others are not")
        if (kept := int(legal.any(-1).sum()) * n) != budget:
            raise ValueError(f"{n} of {m} are {kept} edges, the budget is {budget}")

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight where an edge is chosen and 0 elsewhere; backward is the identity."""
        return straight_through(weight, self.mask)

    def begin(self, weight: Tensor) -> None:
        """Choose as after a step."""
        self.choose(weight, step=0)

    def choose(self, weight: Tensor, step: int) -> None:
        """Take the n largest magnitudes of each group, ties to the lowest index."""
        size = self._grouped(weight.detach().abs())
        order = size.argsort(stable=True, dim=-1, descending=True)
        chosen = torch.zeros_like(size, dtype=torch.bool).scatter_(-1, order[..., : self._n], True)
        mask = chosen.flatten(-2).movedim(-1, 1)
        self.mask.copy_(mask if self.legal is None else mask & self.legal)

    def is_due(self, step: int) -> bool:
        """Return whether the gradient is changed."""
        return self._sr_ste > 0

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Draw what isn't chosen to zero."""
        if weight.grad is not None:
            weight.grad.add_(weight.masked_fill(self.mask, 0), alpha=self._sr_ste)

    def _grouped(self, values: Tensor) -> Tensor:
        """Return values of a weight's shape with the inputs last, in groups: [..., groups, m]."""
        last = values.movedim(1, -1)
        return last.reshape(*last.shape[:-1], -1, self._m)
