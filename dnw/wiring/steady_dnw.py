"""Remedies for what dnw is weak in: it exchanges most of its edges in the first epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dnw.wiring.dnw import DnwEdges
from dnw.wiring.scheduled.edges import share_of
from dnw.wiring.selection import largest_of_rows

_LEAST = torch.finfo(torch.float32).tiny
_MOST = torch.finfo(torch.float32).max


@dataclass(frozen=True, kw_only=True)
class Remedies:
    """What differs from the paper's dnw; the defaults are the paper's."""

    hysteresis: float = 0.0  # an edge counts as stronger by this share than a weight that is none
    average: float = 0.0  # share of the average of magnitudes that a step keeps; the average chooses
    swaps: float = 1.0  # largest share of edges exchanged in a step; it falls to 0 at the run's end
    dense_until: float = 0.0  # share of the steps until which there are more edges than the budget
    rescale: bool = False  # multiply a node's initial weights by sqrt(inputs / edges)
    at_least: int = 0  # edges of each target that come first


class SteadyDnwEdges(DnwEdges):
    """The strongest edges, where what is strong isn't today's magnitude alone; the gradient reaches all.

    Which edges there are depends on those before, so the mask is in the state dict, and the average of the
    magnitudes, where it chooses.
    """

    MASK_IS_SAVED = True
    strength: Tensor | None  # float32, the weight's shape: the average of its magnitudes
    row_budgets: Tensor | None  # int64 [targets]: edges of each that come first; None: none do

    def __init__(self, shape: Sequence[int], budget: int, *, remedies: Remedies, **given: Any) -> None:
        """Wire a weight; see Edges for the rest.

        Raises:
            ValueError: the budget is too small for `at_least` edges of each target.
        """
        super().__init__(shape, budget, **given)
        self.remedies = remedies
        self._positions = self.mask.numel() if self.legal is None else int(self.legal.sum())
        self._steps = 0  # of the whole run; 0: unknown
        self._chosen_after = -1  # the step that the mask is of
        self.register_buffer("strength", torch.zeros(tuple(shape)) if remedies.average else None)
        self.register_buffer("row_budgets", self._of_rows(), persistent=False)
        self.register_load_state_dict_post_hook(_has_loaded)  # type: ignore[no-untyped-call]

    def plan(self, weight: Tensor, steps: int) -> None:
        """Learn how many steps the run has; with `dense_until`, begin with every legal edge."""
        self._steps = steps
        if self.remedies.dense_until:
            self.mask.fill_(True) if self.legal is None else self.mask.copy_(self.legal)

    def begin(self, weight: Tensor) -> None:
        """Choose for the first time, by magnitude alone, and rescale the weights if that is asked for."""
        self.take(self._strongest(self._favoured(weight.detach().float().abs())), step=0)
        if self.remedies.rescale:
            weight.mul_(self._gain(weight))
            self.take(self._strongest(self._favoured(weight.detach().float().abs())), step=0)
        if self.strength is not None:
            self.strength.copy_(weight.detach().abs())
        self._chosen_after = 0

    def forget_step(self) -> None:
        """Take the mask, which was loaded, for that of the step that `choose` is told next."""
        self._chosen_after = -1

    def choose(self, weight: Tensor, step: int) -> None:
        """Choose anew after step `step`, once; what is loaded was chosen before it was saved."""
        if self._chosen_after < 0 or step <= self._chosen_after:
            self._chosen_after = step
            return
        self._chosen_after = step
        strength = weight.detach().float().abs()
        if self.strength is not None:
            strength = self.strength.lerp_(strength, 1 - self.remedies.average).clone()
        if self.remedies.hysteresis:
            strength = strength.where(~self.mask, strength * (1 + self.remedies.hysteresis))
        strength = self._favoured(strength)
        count, cap = self.edges_at(step), self.swaps_at(step)
        if cap < self.budget and count == self.edges_at(step - 1):
            self.take(self._exchanged(strength, count, cap), step)
        else:
            self.take(self._strongest(strength, count), step)

    def edges_at(self, step: int) -> int:
        """Return how many edges there are after `step` steps.

        From every legal one along the cubic of gradual pruning (Zhu and Gupta 2017, equation 1) down to the
        budget.
        """
        end = share_of(self.remedies.dense_until, self._steps)
        if step >= end:
            return self.budget
        return self.budget - (-(self._positions - self.budget) * (end - step) ** 3 // end**3)

    def swaps_at(self, step: int) -> int:
        """Return how many edges may be exchanged after step `step`: a share that falls along a line to 0."""
        if self.remedies.swaps == 1 or not self._steps:
            return self.budget
        left = max(0, self._steps - step) / self._steps
        return math.ceil(self.remedies.swaps * left * self.budget)

    def _exchanged(self, strength: Tensor, count: int, cap: int) -> Tensor:
        """Keep the strongest edges but `cap` of them; these places go to the strongest of all others."""
        kept = self._strongest(strength.where(self.mask, 0), count - cap).clone()
        return kept | self._strongest(strength.where(~kept, 0), cap)

    def _favoured(self, strength: Tensor) -> Tensor:
        """Put `at_least` edges of each target before all others, and leave no position at zero."""
        strength = strength.clamp(min=_LEAST)
        if self.row_budgets is None:
            return strength
        most = min(self.remedies.at_least, strength[0].numel())
        first = largest_of_rows(strength, self.legal, self.row_budgets, most)
        return strength.masked_fill(first, _MOST)

    def _gain(self, weight: Tensor) -> Tensor:
        """Return sqrt(inputs / edges) of each target, shaped to multiply the weight; none counts as one."""
        possible = torch.ones_like(self.mask) if self.legal is None else self.legal
        inputs, edges = possible.flatten(1).sum(1), self.mask.flatten(1).sum(1)
        gain = (inputs.clamp(min=1) / edges.clamp(min=1)).sqrt()
        return gain.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))

    def _of_rows(self) -> Tensor | None:
        """Return `row_budgets`."""
        if not self.remedies.at_least:
            return None
        legal = torch.ones_like(self.mask) if self.legal is None else self.legal
        rows = legal.flatten(1).sum(1).clamp(max=self.remedies.at_least)
        if (needed := int(rows.sum())) > self.budget:
            raise ValueError(
                f"{self.remedies.at_least} edges of each target are {needed}, and there are {self.budget}"
            )
        return rows


def _has_loaded(edges: SteadyDnwEdges, _: Any) -> None:
    edges.forget_step()
