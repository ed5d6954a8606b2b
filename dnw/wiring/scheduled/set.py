"""Sparse evolutionary training: the weakest edges are dropped, others grown at random (Mocanu et al. 2018).

The paper drops among positive and negative weights apart and draws what a grown edge begins with; here the
weakest by magnitude go and grown edges begin at zero, as in Evci et al. 2020, which compares with it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dnw.wiring.random_bits import uniform
from dnw.wiring.scheduled.exchange import ExchangedEdges


class SetEdges(ExchangedEdges):
    """Edges that grow at random: a pure function of a key, the step and the position."""

    def __init__(self, drawn: Tensor, *, key: tuple[int, ...], **given: Any) -> None:
        """Draw by `key`, a few numbers; see ExchangedEdges for the rest."""
        super().__init__(drawn, **given)
        self._key = key

    def _worth(self, weight: Tensor, step: int) -> Tensor:
        return uniform(weight.numel(), (*self._key, step), weight.device).view(weight.shape)
