"""What each remedy of dnw does to the edges, one at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnw.wiring import Choice, DnwEdges, draw, raw_weight, wire
from dnw.wiring.selection import largest
from dnw.wiring.steady_dnw import Remedies, SteadyDnwEdges

SHAPE, BUDGET, STEPS = (8, 25), 40, 10


def weights(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def wired(edges: DnwEdges, weight: Tensor, steps: int = STEPS) -> tuple[nn.Linear, Choice]:
    layer = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    layer.weight = nn.Parameter(weight.clone())
    wire(layer, edges)
    return layer, Choice(layer, steps)


def steady(legal: Tensor | None = None, **remedies: Any) -> SteadyDnwEdges:
    return SteadyDnwEdges(SHAPE, BUDGET, remedies=Remedies(**remedies), legal=legal)


def put(layer: nn.Linear, weight: Tensor) -> None:
    with torch.no_grad():
        raw_weight(layer).copy_(weight)


@pytest.mark.parametrize("legal", [None, draw(SHAPE, 120, key=(7,))])
def test_without_a_remedy_it_is_dnw(legal: Tensor | None) -> None:
    edges = steady(legal)
    layer, choice = wired(edges, weights())
    for step in range(1, STEPS):
        put(layer, weights(step))
        choice.choose(step)
        assert torch.equal(edges.mask, largest(weights(step), legal, BUDGET))


def test_with_hysteresis_an_edge_stays_until_another_is_stronger_by_that_share() -> None:
    edges = steady(hysteresis=0.5)
    weight = torch.ones(SHAPE)
    layer, choice = wired(edges, weight)
    first = edges.mask.clone()
    put(layer, torch.where(first, 1.0, 1.4))
    choice.choose(1)
    assert torch.equal(edges.mask, first)
    put(layer, torch.where(first, 1.0, 1.6))
    choice.choose(2)
    assert not (edges.mask & first).any()


def test_an_average_of_magnitudes_chooses() -> None:
    edges = steady(average=0.75)
    layer, choice = wired(edges, weights())
    average = weights().abs()
    for step in range(1, STEPS):
        put(layer, weights(step))
        choice.choose(step)
        average = 0.75 * average + 0.25 * weights(step).abs()
        assert torch.allclose(edges.strength, average)
        assert torch.equal(edges.mask, largest(edges.strength, None, BUDGET))


@pytest.mark.parametrize("legal", [None, draw(SHAPE, 120, key=(7,))])
def test_no_more_edges_are_exchanged_than_the_cap_which_falls_to_none(legal: Tensor | None) -> None:
    edges = steady(legal, swaps=0.25)
    layer, choice = wired(edges, weights())
    for step in range(1, STEPS + 1):
        before, wanted = edges.mask.clone(), largest(weights(step), legal, BUDGET)
        put(layer, weights(step))
        choice.choose(step)
        new = edges.mask & ~before
        assert int(edges.mask.sum()) == BUDGET
        assert legal is None or not (edges.mask & ~legal).any()
        assert int(new.sum()) <= edges.swaps_at(step)
        assert not (new & ~wanted).any()
        magnitudes, left_out = weights(step).abs(), wanted & ~edges.mask
        if new.any() and left_out.any():
            assert magnitudes[new].min() >= magnitudes[left_out].max()
    assert [edges.swaps_at(step) for step in (0, 5, 9, 10)] == [10, 5, 1, 0]


def test_a_cap_that_is_never_met_changes_nothing() -> None:
    edges = steady(swaps=0.999)
    layer, choice = wired(edges, weights(), steps=1000)
    put(layer, weights() + 0.1 * weights(1))
    choice.choose(1)
    assert torch.equal(edges.mask, largest(raw_weight(layer).detach(), None, BUDGET))


def test_edges_become_fewer_from_all_legal_ones_to_the_budget() -> None:
    legal = draw(SHAPE, 120, key=(7,))
    edges = steady(legal, dense_until=0.5)
    layer, choice = wired(edges, weights())
    assert torch.equal(edges.mask, legal)
    counts = []
    for step in range(1, STEPS + 1):
        put(layer, weights(step))
        choice.choose(step)
        counts.append(int(edges.mask.sum()))
        assert torch.equal(edges.mask, largest(weights(step), legal, counts[-1]))
    assert counts == [81, 58, 46, 41, *[BUDGET] * 6]


def test_rescaled_weights_of_a_node_are_larger_the_fewer_edges_it_has() -> None:
    edges = steady(rescale=True)
    layer, _ = wired(edges, weights())
    counts = largest(weights(), None, BUDGET).sum(1).clamp(min=1)
    assert torch.allclose(raw_weight(layer), weights() * (SHAPE[1] / counts).sqrt()[:, None])
    assert torch.equal(edges.mask, largest(raw_weight(layer).detach(), None, BUDGET))


@pytest.mark.parametrize("legal", [None, draw(SHAPE, 120, key=(7,))])
def test_each_target_has_its_strongest_edges_first(legal: Tensor | None) -> None:
    edges = steady(legal, at_least=2)
    weight = weights() * torch.tensor([1e-6, *[1.0] * 7])[:, None]
    wired(edges, weight)
    assert int(edges.mask.sum()) == BUDGET
    assert (edges.mask.sum(1) >= 2).all()
    row = None if legal is None else legal[:1]
    assert torch.equal(edges.mask[:1], largest(weight[:1], row, 2))
    with pytest.raises(ValueError, match="6 edges of each target are 48, and there are 40"):
        steady(at_least=6)
    whole = SteadyDnwEdges((4, 9), 36, remedies=Remedies(at_least=16))  # more than a target has
    whole.begin(torch.ones(4, 9))
    assert whole.mask.all()


def test_what_was_loaded_is_not_chosen_again_until_the_next_step() -> None:
    everything: dict[str, Any] = {"hysteresis": 0.1, "average": 0.5, "swaps": 0.2, "at_least": 1}
    layer, choice = wired(steady(**everything), weights())
    put(layer, weights(1))
    choice.choose(1)
    choice.choose(1)  # as each rank does where training begins
    again, resumed = wired(steady(**everything), weights(9))
    again.load_state_dict(layer.state_dict())
    resumed.choose(1)
    for step in (2, 3):
        for one, chooser in ((layer, choice), (again, resumed)):
            put(one, weights(step))
            chooser.choose(step)
        assert all(torch.equal(layer.state_dict()[name], x) for name, x in again.state_dict().items())
