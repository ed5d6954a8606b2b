"""From the configuration to the edges of a weight, for wirings with a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dnw.config import Train
from dnw.wiring.edges import Edges
from dnw.wiring.random_edges import draw
from dnw.wiring.scheduled.acdc import AcdcEdges
from dnw.wiring.scheduled.edge_popup import EdgePopupEdges
from dnw.wiring.scheduled.gmp import GmpEdges
from dnw.wiring.scheduled.lottery import LotteryEdges
from dnw.wiring.scheduled.n_m import NmEdges
from dnw.wiring.scheduled.rigl import RiglEdges
from dnw.wiring.scheduled.set import SetEdges
from dnw.wiring.scheduled.soft_threshold import SoftThresholdEdges

_SCORED = int.from_bytes(b"scores")
_KINDS: dict[str, tuple[Callable[..., Edges], tuple[str, ...]]] = {
    "gmp": (GmpEdges, ("every", "start", "until")),
    "acdc": (AcdcEdges, ("cycles", "start", "until")),
    "str": (SoftThresholdEdges, ("threshold", "until")),
    "lottery": (LotteryEdges, ("rounds", "start", "until")),
    "n_m": (NmEdges, ("n", "m", "sr_ste")),
    "edge_popup": (EdgePopupEdges, ()),
}
NAMES = frozenset({"rigl", "set", *_KINDS})
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
    if wiring.name in {"rigl", "set"}:
        drawn = draw(shape, budget, key=key, legal=given["legal"])
        exchanged: dict[str, Any] = {
            "every": wiring.every,
            "drop": wiring.drop,
            "until": wiring.until,
            **given,
        }
        if wiring.name == "rigl":
            return RiglEdges(drawn, **exchanged)
        return SetEdges(drawn, key=(train.seed, _GROWN, number), **exchanged)
    kind, settings = _KINDS[wiring.name]
    own: dict[str, Any] = {name: getattr(wiring, name) for name in settings}
    if wiring.name == "edge_popup":
        own["key"] = (train.seed, _SCORED, number)
    made: Edges = kind(shape, budget, **own, **given)
    return made
