"""What holds for every weight, budget and update: exact budgets, gradients, and how edges are swapped."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dnw.wiring import (
    Choice,
    DnwEdges,
    Edges,
    FixedEdges,
    NoUpdateEdges,
    RandomEdges,
    RegularTargetedDropoutEdges,
    TargetedDropoutEdges,
    draw,
    edges_of,
    raw_weight,
    wire,
)
from dnw.wiring.scheduled.edges import ScheduledEdges
from dnw.wiring.scheduled.gmp import GmpEdges
from dnw.wiring.scheduled.rigl import RiglEdges
from dnw.wiring.scheduled.set import SetEdges
from dnw.wiring.strongest import StrongestEdges
from dnw.wiring.targeted_dropout import legal_of_rows, share_out

WHEN: dict[str, Any] = {"every": 1, "until": 0.75}
STRONGEST: dict[str, type[StrongestEdges]] = {
    "dnw": DnwEdges,
    "no_update": NoUpdateEdges,
    "fixed": FixedEdges,
}
SCHEDULED: dict[str, Callable[[tuple[int, ...], Tensor, Tensor | None], ScheduledEdges]] = {
    "rigl": lambda _, drawn, legal: RiglEdges(drawn, legal=legal, drop=0.3, **WHEN),
    "set": lambda _, drawn, legal: SetEdges(drawn, legal=legal, key=(0,), drop=0.3, **WHEN),
    "gmp": lambda shape, drawn, legal: GmpEdges(shape, int(drawn.sum()), legal=legal, start=0.0, **WHEN),
}
KINDS = (*STRONGEST, "random", "td", "reg_td", *SCHEDULED)
FOLLOWING = ("dnw", "no_update", "td")


def edges(kind: str, shape: tuple[int, ...], budget: int, legal: Tensor | None) -> Edges:
    drawn = draw(shape, budget, key=(0,), legal=legal)
    if kind in STRONGEST:
        return STRONGEST[kind](shape, budget, legal=legal)
    if kind in SCHEDULED:
        return SCHEDULED[kind](shape, drawn, legal)
    match kind:
        case "random":
            return RandomEdges(drawn, legal=legal)
        case "td":
            return TargetedDropoutEdges(shape, budget, rho=0.5, key=(0,), legal=legal)
        case "reg_td":
            rows = share_out(budget, legal_of_rows(shape, legal))
            return RegularTargetedDropoutEdges(shape, rows, rho=0.5, key=(0,), legal=legal)
        case _:
            raise ValueError(f"{kind}: say here how edges of this wiring are made")


@st.composite
def layers(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> tuple[nn.Module, Edges]:
    """A wired layer; its weights are few different numbers, so that ties are the rule, or all different."""
    kind = draw(st.sampled_from(kinds))
    shape = draw(st.sampled_from([(4, 6), (1, 7), (5, 1), (3, 2, 3, 3), (8, 1, 1, 1)]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    legal = draw(st.sampled_from([None, torch.rand(shape, generator=random) < 0.6]))
    if legal is not None:
        legal.view(-1)[0] = True
    budget = draw(st.integers(1, int(legal.sum()) if legal is not None else torch.Size(shape).numel()))
    layer = nn.Linear(1, 1, bias=False) if len(shape) == 2 else nn.Conv2d(1, 1, 1, bias=False)
    layer.weight = nn.Parameter(some(shape, random, draw(st.booleans())))
    made = edges(kind, shape, budget, legal)
    wire(layer, made)
    return layer, made


def some(shape: tuple[int, ...], random: torch.Generator, tied: bool) -> Tensor:
    if tied:
        return torch.randint(-2, 3, shape, generator=random).float()
    return torch.randn(shape, generator=random)


def gradient(layer: nn.Module, upstream: Tensor) -> Tensor:
    raw = raw_weight(layer)
    raw.grad = None
    (layer.weight * upstream).sum().backward()
    assert raw.grad is not None
    return raw.grad


@given(layers(), st.lists(st.integers(0, 2**16), max_size=3))
@settings(deadline=None)
def test_budget_is_exact_before_and_after_updates(wired: tuple[nn.Module, Edges], updates: list[int]) -> None:
    layer, made = wired
    choice = Choice(layer)
    for step, seed in enumerate([0, *updates]):
        assert int(made.mask.sum()) == made.budget
        assert made.legal is None or not (made.mask & ~made.legal).any()
        layer.eval()
        assert torch.equal(layer.weight, raw_weight(layer) * made.mask)  # type: ignore[arg-type]
        with torch.no_grad():
            raw_weight(layer).add_(some(made.mask.shape, torch.Generator().manual_seed(seed), True))
        choice.choose(step + 1)


@given(layers(), st.integers(0, 2**16))
@settings(deadline=None)
def test_gradient_reaches_all_edges_with_dnw_and_the_used_ones_alone_otherwise(
    wired: tuple[nn.Module, Edges], seed: int
) -> None:
    layer, made = wired
    layer.train()
    upstream = torch.randn(made.mask.shape, generator=torch.Generator().manual_seed(seed))
    used = made.kept if isinstance(made, TargetedDropoutEdges) else made.mask
    expected = upstream if isinstance(made, DnwEdges) else upstream * used
    assert torch.equal(gradient(layer, upstream), expected)


@given(layers(FOLLOWING), st.integers(0, 2**16), st.booleans())
@settings(deadline=None)
def test_an_edge_leaves_only_when_a_stronger_one_comes(
    wired: tuple[nn.Module, Edges], seed: int, tied: bool
) -> None:
    """The swap of the paper (section 2): between steps only edges that were overtaken are replaced."""
    layer, made = wired
    before, old = made.mask.clone(), raw_weight(layer).detach().abs().clone()
    with torch.no_grad():
        raw_weight(layer).add_(some(made.mask.shape, torch.Generator().manual_seed(seed), tied))
    Choice(layer).choose(1)
    new = raw_weight(layer).detach().abs()
    left, came = before & ~made.mask, made.mask & ~before
    assert int(left.sum()) == int(came.sum())
    if left.any():
        # whoever came is as strong as each that left, and was not before: it has overtaken it
        assert new[came].min() >= new[left].max()
        assert old[came].max() <= old[left].min()
    legal = torch.ones_like(before) if made.legal is None else made.legal
    unused = legal & ~made.mask
    if unused.any():
        assert new[made.mask].min() >= new[unused].max()


@given(layers())
@settings(deadline=None)
def test_edges_survive_saving_copying_and_another_memory_format(wired: tuple[nn.Module, Edges]) -> None:
    layer, made = wired
    layer.eval()
    effective = layer.weight
    assert isinstance(effective, Tensor)
    for other in (copy.deepcopy(layer), copy.deepcopy(layer)):
        ((_, edges),) = edges_of(other).values()
        edges.mask.logical_not_()
        if not isinstance(edges, FixedEdges | RandomEdges):
            with torch.no_grad():
                raw_weight(other).zero_()
        else:
            edges.mask.logical_not_()
        if effective.ndim == 4:
            other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        other.load_state_dict(layer.state_dict())
        Choice(other).choose(0)
        assert torch.equal(edges.mask, made.mask)
        assert torch.equal(other.weight, effective)  # type: ignore[arg-type]
        assert edges.mask.data_ptr() != made.mask.data_ptr()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_effective_weight_keeps_the_memory_format(kind: str, when: str) -> None:
    layer = nn.Conv2d(4, 6, 3)
    if when == "before":
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wire(layer, edges(kind, (6, 4, 3, 3), 20, None))
    if when == "after":
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for mode in (layer.train(), layer.eval()):
        assert mode.weight.is_contiguous(memory_format=torch.channels_last)
        assert mode.weight.count_nonzero() >= 20
    Choice(layer).choose(1)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
