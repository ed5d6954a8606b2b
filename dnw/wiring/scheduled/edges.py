"""The base of all wirings that follow a schedule over the whole run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor

from dnw.wiring.strongest import StrongestEdges


class ScheduledEdges(StrongestEdges):
    """Edges that change before some optimizer steps, and stay in between.

    When is a function of the step and of the number of all steps, which `plan` tells. Until it is called the
    edges are as many as at the end of a run, which is what an untrained network is described by. What they
    became can't be told from the weights, so the mask is in the state dict.
    """

    MASK_IS_SAVED = True

    def __init__(self, shape: Sequence[int], budget: int, *, until: float, **given: Any) -> None:
        """Wire a weight whose edges change no more after the share `until` of all steps; see Edges."""
        super().__init__(shape, budget, **given)
        self._until = until
        self.end = 0  # the last step before which edges change

    @property
    def positions(self) -> int:
        """The number of legal positions, which waits for the device."""
        return self.mask.numel() if self.legal is None else int(self.legal.sum())

    def plan(self, weight: Tensor, steps: int) -> None:
        """Learn how many optimizer steps the run has, before the first one; `weight` is the raw one."""
        self.end = min(share_of(self._until, steps), steps - 1)

    def begin(self, weight: Tensor) -> None:
        """Take the edges of largest magnitude, as many as at the end."""
        self.take(self._strongest(weight.detach()), step=0)

    def choose(self, weight: Tensor, step: int) -> None:
        """Stay: the schedule alone changes the mask."""

    def is_due(self, step: int) -> bool:
        """Return whether edges change after `step` steps, before the next one."""
        raise NotImplementedError

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Change the edges after `step` steps, when the gradient for the next one is there.

        Args:
            weight: the raw weight; its `grad` is the mean over the whole batch, on every rank.
            step: how many steps are done.
            slots: what the optimizer keeps for each entry of the weight, as momentum.
        """
        raise NotImplementedError

    def _everywhere(self) -> None:
        """Make every legal position an edge."""
        self.mask.fill_(True) if self.legal is None else self.mask.copy_(self.legal)

    def _exchange(self, mask: Tensor, weight: Tensor, slots: Sequence[Tensor]) -> None:
        """Use the edges of `mask`; those that come begin at zero and at rest, those that go leave nothing."""
        gone_or_new = ~(self.mask & mask)
        for held in (weight, weight.grad, *slots):
            if held is not None:
                held.masked_fill_(gone_or_new, 0)
        self.mask.copy_(mask)


class PrunedEdges(ScheduledEdges):
    """Every legal edge at first, and some of them cut from a share of all steps on."""

    def __init__(
        self, shape: Sequence[int], budget: int, *, start: float, until: float, **given: Any
    ) -> None:
        """Keep every edge up to the share `start` of all steps; see ScheduledEdges for the rest."""
        super().__init__(shape, budget, until=until, **given)
        self._start = start
        self._first = 0

    def plan(self, weight: Tensor, steps: int) -> None:
        """Begin with every legal edge."""
        super().plan(weight, steps)
        self._first = min(share_of(self._start, steps), self.end)
        self._everywhere()


def share_of(share: float, steps: int) -> int:
    """Return how many of `steps` the share is, rounded down; computed from its decimal digits."""
    return math.floor(Fraction(str(share)) * steps)
