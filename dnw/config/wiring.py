"""How edges are chosen."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dnw.config.user_class import AsText, Options, OrUserClass
from dnw.ranges import STRICT, Amount, Count, Number, Portion, Positive, Share

KINDS = Literal[
    "dnw",
    "random",
    "complete",
    "no_update",
    "td",
    "reg_td",
    "fine_tune",
    "one_shot",
    "rigl",
    "set",
    "gmp",
    "acdc",
    "str",
    "lottery",
    "n_m",
    "edge_popup",
]
FROM_A_RUN = frozenset({"fine_tune", "one_shot"})  # wirings that begin with what another run came to


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wiring:
    """How edges are chosen."""

    name: Annotated[KINDS, OrUserClass, AsText]  # or a class of the user's own (docs/extending.md)
    options: Options = dataclasses.field(default_factory=dict)  # what that is built with besides
    reference_quirks: bool = False  # do as the paper's code did where it is wrong, see docs/wiring.md
    rho: Share = 0.95  # td, reg_td: probability with which a candidate is dropped in a training step
    budget: Literal["layer", "global", "erk"] = "layer"  # sparsity of each weight, of all together, by shape
    block: Annotated[int, Field(ge=1, le=64)] = 1  # neighbouring targets that share their sources
    leave_dense: tuple[str, ...] = ()  # layers that aren't wired, by their names, * for anything
    source: str = ""  # fine_tune, one_shot: a finished run with wiring=complete, its folder or its experiment
    source_signature: str = ""  # set when the run is frozen
    every: Positive = 100  # rigl, set, gmp: steps from one change of edges to the next
    drop: Share = 0.3  # rigl, set: share of the edges that are replaced, rigl's at first
    start: Portion = 0.0  # gmp, acdc, lottery: share of the steps before the first change
    until: Share = 0.75  # rigl, set, gmp, acdc, str, lottery: share of the steps after which edges stay
    cycles: Positive = 7  # acdc: how often edges are cut and brought back
    threshold: Number = -5.0  # str: the sigmoid of this is the first threshold
    rounds: Positive = 5  # lottery: how often weights are rewound
    n: Positive = 2  # n_m: edges among m neighbouring inputs
    m: Literal[2, 4, 8, 16] = 4
    sr_ste: Amount = 2e-4  # n_m: share of what isn't chosen that is added to the gradient
    hysteresis: Amount = 0.0  # dnw: share by which an edge counts as stronger than a weight that is none
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0  # dnw: an average of magnitudes chooses; share kept
    swaps: Share = 1.0  # dnw: largest share of the edges exchanged in a step; falls to 0 at the end
    dense_until: Portion = 0.0  # dnw: share of the steps in which edges become fewer, from all legal ones
    rescale: bool = False  # dnw: initial weights of a target times sqrt(inputs / edges)
    at_least: Count = 0  # dnw: edges of each target that come first


# Settings of dnw that the paper has not; some need to know of single edges (dnw/wiring/steady_dnw.py).
REMEDIES = ("hysteresis", "average", "swaps", "dense_until", "rescale", "at_least")
OF_SINGLE_EDGES = ("swaps", "at_least")
# Which wirings have a use for a setting: with any other it is refused, unless it is left as it is.
USED_BY = {
    "every": frozenset({"rigl", "set", "gmp"}),
    "drop": frozenset({"rigl", "set"}),
    "start": frozenset({"gmp", "acdc", "lottery"}),
    "until": frozenset({"rigl", "set", "gmp", "acdc", "str", "lottery"}),
    "cycles": frozenset({"acdc"}),
    "threshold": frozenset({"str"}),
    "rounds": frozenset({"lottery"}),
    "n": frozenset({"n_m"}),
    "m": frozenset({"n_m"}),
    "sr_ste": frozenset({"n_m"}),
    **dict.fromkeys(REMEDIES, frozenset({"dnw"})),
}
# Wirings that can't do what a setting asks for, and what to take.
_LATER = frozenset({"rigl", "set", "gmp", "acdc", "str", "lottery", "n_m", "edge_popup"})
NOT_WITH = {
    "block": frozenset({"complete", "rigl", "set", "str", "lottery", "n_m"}),
    "global": _LATER,
    "reference_quirks": _LATER,
}
