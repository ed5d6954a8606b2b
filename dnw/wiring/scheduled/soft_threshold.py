"""Soft threshold reparameterization: how many edges a weight has is learned (Kusupati et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dnw.wiring.scheduled.edges import ScheduledEdges


class SoftThresholdEdges(ScheduledEdges):
    """Those beyond a threshold, which all magnitudes are lowered by, and which is learned beside them.

    What comes out is no budget. So at the end the strongest are kept, as many as the budget says, as they
    are with the threshold taken off; from then on they are trained as they are. Where the threshold has
    left fewer, the strongest of those below it fill up the budget, from zero.
    """

    threshold: nn.Parameter  # scalar: its sigmoid is the threshold
    settled: Tensor  # bool, scalar: whether the strongest have been kept

    def __init__(
        self, shape: Sequence[int], budget: int, *, threshold: float, until: float, **given: Any
    ) -> None:
        """Begin with the sigmoid of `threshold`, and settle at the share `until` of all steps; see Edges."""
        super().__init__(shape, budget, until=until, **given)
        self._threshold = threshold
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.register_buffer("settled", torch.tensor(False))

    def forward(self, weight: Tensor) -> Tensor:
        """Return sign(w) max(|w| - sigmoid(s), 0) where there is an edge and 0 elsewhere."""
        lowered = weight.abs() - self.threshold.sigmoid() * ~self.settled
        return (weight.sign() * lowered.relu()).where(self.mask, 0)

    def plan(self, weight: Tensor, steps: int) -> None:
        """Begin with all edges beyond the first threshold."""
        super().plan(weight, steps)
        self.choose(weight, step=0)

    def choose(self, weight: Tensor, step: int) -> None:
        """Take what is beyond the threshold, until the edges are settled."""
        if self.end == 0:  # not planned: a network that isn't trained
            return
        beyond = weight.detach().abs() > self.threshold.detach().sigmoid()
        if self.legal is not None:
            beyond &= self.legal
        self.mask.copy_(self.mask.where(self.settled, beyond))

    def is_due(self, step: int) -> bool:
        """Return whether the edges are settled."""
        return step == self.end

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Keep the strongest, and take the threshold off them."""
        lowered = self.forward(weight.detach())
        self._exchange(self._strongest(weight.detach()).clone(), weight, slots)
        weight.copy_(lowered.where(self.mask, 0))
        self.settled.fill_(True)
