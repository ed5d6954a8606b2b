"""From the configuration to the edges of a weight, for wirings with a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnw.config import Train
from dnw.wiring.edges import Edges
from dnw.wiring.random_edges import draw
from dnw.wiring.scheduled.gmp import GmpEdges
from dnw.wiring.scheduled.rigl import RiglEdges
from dnw.wiring.scheduled.set import SetEdges

NAMES = frozenset({"rigl", "set", "gmp"})
_GROWN = int.from_bytes(b"growth")  # sets these random numbers apart from all others


def make_scheduled_edges(
    train: Train, number: int, shape: Sequence[int], budget: int, *, key: tuple[int, ...], **given: Any
) -> Edges:
    """Make the edges of one weight; see make_edges in dnw/wiring/making.py.

    Args:
        train: the wiring, one of NAMES, and the seed.
        number: of the weight, from 0.
        shape: of the weight.
        budget: how many edges it has at the last step.
        key: by which a random graph is drawn.
        given: see Edges.
    """
    wiring = train.wiring
    when: dict[str, Any] = {"until": wiring.until, **given}
    if wiring.name == "gmp":
        return GmpEdges(shape, budget, every=wiring.every, start=wiring.start, **when)
    drawn = draw(shape, budget, key=key, legal=given["legal"])
    exchanged: dict[str, Any] = {"every": wiring.every, "drop": wiring.drop, **when}
    if wiring.name == "rigl":
        return RiglEdges(drawn, **exchanged)
    return SetEdges(drawn, key=(train.seed, _GROWN, number), **exchanged)
