"""Lottery tickets: train, prune, and begin again with the weights of an early step, in rounds.

Frankle and Carbin, "The Lottery Ticket Hypothesis", ICLR 2019; with weights of an early step in place of the
first ones: Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dnw.wiring.scheduled.edges import PrunedEdges
from dnw.wiring.selection import largest


class LotteryEdges(PrunedEdges):
    """The strongest of those that are left, each round the same share of them, rewound to an early step.

    The optimizer begins each round at rest, and skips the step before which it rewinds.
    """

    rewound: Tensor  # float, shape of the weight: what it was at the early step

    def __init__(self, shape: Sequence[int], budget: int, *, rounds: int, **given: Any) -> None:
        """Keep the weights at the share `start` of all steps; end the last round at `until`; see the base."""
        super().__init__(shape, budget, **given)
        self._rounds = rounds
        self._all = self.positions
        self.register_buffer("rewound", torch.zeros(tuple(shape)))

    def is_due(self, step: int) -> bool:
        """Return whether weights are kept or rewound."""
        return step == self._first or step in self.ends()

    def ends(self) -> dict[int, int]:
        """Return by the steps at which rounds end how many edges are left then.

        The same share of them each round, rounded; rounds are equally long.
        """
        span, share = self.end - self._first, self.budget / self._all
        left = {
            self._first + span * number // self._rounds: self._left(share ** (number / self._rounds))
            for number in range(1, self._rounds + 1)
        }
        return {**left, self.end: self.budget}

    def change(self, weight: Tensor, step: int, slots: Sequence[Tensor]) -> None:
        """Keep the weights, or prune and rewind."""
        if step == self._first:
            self.rewound.copy_(weight)
        if step not in (ends := self.ends()):
            return
        self.mask.copy_(largest(weight.detach(), self.mask.clone(), ends[step]))
        weight.copy_(self.rewound.where(self.mask, 0))
        for held in (weight.grad, *slots):
            if held is not None:
                held.zero_()

    def _left(self, share: float) -> int:
        return max(self.budget, round(share * self._all))
