"""How edges are chosen."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dnw.config.user_class import AsText, Options, OrUserClass
from dnw.ranges import STRICT, Share

KINDS = Literal["dnw", "random", "complete", "no_update", "td", "reg_td", "fine_tune", "one_shot"]
FROM_A_RUN = frozenset({"fine_tune", "one_shot"})  # wirings that begin with what another run came to


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wiring:
    """How edges are chosen."""

    name: Annotated[KINDS, OrUserClass, AsText]  # or a class of the user's own (docs/extending.md)
    options: Options = dataclasses.field(default_factory=dict)  # what that is built with besides
    reference_quirks: bool = False  # do as the paper's code did where it is wrong, see docs/wiring.md
    rho: Share = 0.95  # td, reg_td: probability with which a candidate is dropped in a training step
    budget: Literal["layer", "global"] = "layer"  # sparsity of each weight, or of all together
    block: Annotated[int, Field(ge=1, le=64)] = 1  # neighbouring targets that share their sources
    leave_dense: tuple[str, ...] = ()  # layers that aren't wired, by their names, * for anything
    source: str = ""  # fine_tune, one_shot: a finished run with wiring=complete, its folder or its experiment
    source_signature: str = ""  # set when the run is frozen
