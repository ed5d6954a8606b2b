"""From the configuration to the edges of a weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dnw import user_classes
from dnw.config import ConfigError, Train
from dnw.config.wiring import REMEDIES
from dnw.wiring import blocks
from dnw.wiring.budget import budget as budget_of
from dnw.wiring.budget import reference_quota, widest
from dnw.wiring.complete import CompleteEdges
from dnw.wiring.dnw import DnwEdges
from dnw.wiring.edges import Edges
from dnw.wiring.fixed import FixedEdges
from dnw.wiring.layout import Layout
from dnw.wiring.no_update import NoUpdateEdges
from dnw.wiring.pool import Pool
from dnw.wiring.random_edges import RandomEdges, draw, draw_blocks
from dnw.wiring.scheduled.making import NAMES as SCHEDULED
from dnw.wiring.scheduled.making import make_scheduled_edges
from dnw.wiring.steady_dnw import Remedies, SteadyDnwEdges
from dnw.wiring.strongest import StrongestEdges
from dnw.wiring.targeted_dropout import (
    RegularTargetedDropoutEdges,
    TargetedDropoutEdges,
    legal_of_rows,
    share_out,
)
from shards.user_class.names import is_user_class

_STRONGEST = {
    "dnw": DnwEdges,
    "no_update": NoUpdateEdges,
    "fine_tune": FixedEdges,
    "one_shot": FixedEdges,
}
# set the random numbers of wirings apart from those of data
_DRAWN = int.from_bytes(b"wiring")
_DROPPED = int.from_bytes(b"dropout")


def graph_edges(train: Train, number: int, layout: Layout, *, dense: int, power: int) -> Edges:
    """Make the edges of graph `number` of a model, for a weight of shape [rows, columns, 1, 1].

    Args:
        train: the wiring, the width and the seed.
        number: of the graph, from 0; each draws edges of its own.
        layout: of its nodes.
        dense: edges at width 1.
        power: of the width, in the budget (dnw.wiring.budget).

    Raises:
        ConfigError: the width asks for more edges than are legal.
    """
    shape = (layout.rows, layout.columns, 1, 1)
    legal = _legal(train, layout)
    if train.wiring.name == "complete":
        return CompleteEdges(shape, legal=legal, layout=layout)
    assert train.width is not None  # dnw.config has seen to that
    budget = budget_of(train.width, dense, power)
    positions = layout.rows * layout.columns if legal is None else int(legal.sum())
    if budget > positions:
        raise ConfigError(
            f"width: {train.width} asks for {budget} edges in graph {number}, which has {positions} legal "
            f"ones: take at most {widest(positions, dense, power)}"
        )
    quota = reference_quota(train.width, dense, power) if train.wiring.reference_quirks else None
    return make_edges(train, number, shape, budget, legal=legal, layout=layout, quota=quota)


def make_edges(
    train: Train,
    number: int,
    shape: Sequence[int],
    budget: int,
    *,
    legal: Tensor | None = None,
    layout: Layout | None = None,
    quota: float | None = None,
) -> Edges:
    """Make the edges of one weight of a model, by any wiring but complete.

    Args:
        train: the wiring and the seed.
        number: of the weight, from 0; each draws edges of its own.
        shape: of the weight.
        budget: how many edges it has.
        legal: where edges may be, bool of `shape`; None: everywhere.
        layout: of the nodes of a graph; None for any other weight.
        quota: the budget before rounding, as the paper's code has it.
    """
    block = train.wiring.block
    given: dict[str, Any] = {"legal": legal, "layout": layout, "quota": quota, "block": block}
    match train.wiring.name:
        case "random":
            key = train.seed, _DRAWN, number
            return RandomEdges(draw(shape, budget, key=key, legal=legal, block=block), **given)
        case "td":
            return TargetedDropoutEdges(shape, budget, **_dropout(train, number), **given)
        case "reg_td":
            row_budgets = share_out(budget, legal_of_rows(shape, legal))
            return RegularTargetedDropoutEdges(shape, row_budgets, **_dropout(train, number), **given)
        case name if name in SCHEDULED:
            key = train.seed, _DRAWN, number
            return make_scheduled_edges(train, number, shape, budget, key=key, **given)
        case name if is_user_class(name):
            return _of_the_user(train, number, shape, budget, **given)
        case _:
            return _strongest(train, number, shape, budget, **given)


def make_sharing_edges(train: Train, shapes: Sequence[Sequence[int]], budget: int) -> list[Edges]:
    """Make the edges of all weights of a model, in the order of registration, with one budget.

    Args:
        train: the configuration.
        shapes: of the weights.
        budget: edges of all of them together.
    """
    block = train.wiring.block
    match train.wiring.name:
        case "random":
            return [RandomEdges(drawn, block=block) for drawn in _draw_together(train, shapes, budget)]
        case "reg_td":
            positions = [legal_of_rows(shape, None) for shape in shapes]
            rows = share_out(budget, torch.cat(positions)).split([len(part) for part in positions])
            return [
                RegularTargetedDropoutEdges(
                    shape, row_budgets.clone(), **_dropout(train, number), block=block
                )
                for number, (shape, row_budgets) in enumerate(zip(shapes, rows, strict=True))
            ]
        case "td":
            pool = Pool(budget, block)
            return [
                TargetedDropoutEdges(shape, pool, **_dropout(train, number), block=block)
                for number, shape in enumerate(shapes)
            ]
        case name if is_user_class(name):
            pool = Pool(budget, block)
            return [
                _of_the_user(train, number, shape, pool, legal=None, layout=None, quota=None, block=block)
                for number, shape in enumerate(shapes)
            ]
        case name:
            pool = Pool(budget, block)
            return [_STRONGEST[name](shape, pool, block=block) for shape in shapes]


def _of_the_user(train: Train, number: int, shape: Sequence[int], budget: int | Pool, **given: Any) -> Edges:
    key = train.seed, _DRAWN, number
    edges = user_classes.build(train, "wiring.name", shape, budget, given={"key": key}, **given)
    needed = StrongestEdges if isinstance(budget, Pool) else Edges
    if not isinstance(edges, needed):
        because = ", which wiring.budget=global needs" if isinstance(budget, Pool) else ""
        raise ConfigError(
            f"wiring={train.wiring.name}: must be derived from dnw.wiring.{needed.__name__}{because}"
        )
    return edges


def _strongest(train: Train, number: int, shape: Sequence[int], budget: int, **given: Any) -> Edges:
    remedies = Remedies(**{name: getattr(train.wiring, name) for name in REMEDIES})
    if remedies == Remedies():
        return _STRONGEST[train.wiring.name](shape, budget, **given)
    try:
        return SteadyDnwEdges(shape, budget, remedies=remedies, **given)
    except ValueError as error:
        raise ConfigError(
            f"wiring.at_least: in weight {number} {error}; take fewer, or more width"
        ) from error


def _draw_together(train: Train, shapes: Sequence[Sequence[int]], budget: int) -> Iterator[Tensor]:
    block, key = train.wiring.block, (train.seed, _DRAWN)
    if block == 1:
        sizes = [torch.Size(shape).numel() for shape in shapes]
        parts = draw((sum(sizes),), budget, key=key).split(sizes)
        return (part.view(tuple(shape)) for part, shape in zip(parts, shapes, strict=True))
    there = [blocks.by_blocks(torch.ones(tuple(shape), dtype=torch.bool), block) for shape in shapes]
    drawn = draw_blocks(torch.cat(there), budget, key=key, block=block).split([len(part) for part in there])
    return (blocks.from_blocks(part, shape, block) for part, shape in zip(drawn, shapes, strict=True))


def _dropout(train: Train, number: int) -> dict[str, Any]:
    key = (train.seed, _DROPPED, number)
    return {"rho": train.wiring.rho, "key": key, "unsigned": train.wiring.reference_quirks}


def _legal(train: Train, layout: Layout) -> Tensor | None:
    if not train.wiring.reference_quirks:
        legal_TS = layout.legal()
    elif train.wiring.name == "random":
        legal_TS = layout.reference_random()
    else:
        return None
    return None if bool(legal_TS.all()) else legal_TS[:, :, None, None]
