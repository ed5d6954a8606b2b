"""The cubic of Zhu and Gupta."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from dnw.wiring import Choice, raw_weight, wire
from dnw.wiring.scheduled.gmp import GmpEdges


def planned(steps: int, *, budget: int = 100, every: int = 10, start: float = 0.1) -> GmpEdges:
    edges = GmpEdges((20, 50), budget, every=every, start=start, until=0.9)
    edges.plan(torch.zeros(20, 50), steps)
    return edges


def test_it_begins_with_every_edge_and_cuts_every_few_steps_to_the_end() -> None:
    edges = planned(100, every=30)
    assert edges.mask.all()
    assert [step for step in range(100) if edges.is_due(step)] == [10, 40, 70, 90]


def test_sparsity_follows_equation_1() -> None:
    edges, final = planned(1000), 0.9
    for step in range(100, 901, 10):
        sparsity = final + (0 - final) * (1 - (step - 100) / 800) ** 3
        assert edges.edges_at(step) == math.ceil(round((1 - sparsity) * 1000, 6))
    assert [edges.edges_at(step) for step in (100, 500, 900, 999)] == [1000, 213, 100, 100]


def test_it_cuts_what_torchs_own_pruning_cuts() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(50, 20), nn.Linear(50, 20)
    theirs.load_state_dict(ours.state_dict())
    wire(ours, GmpEdges((20, 50), 100, every=1, start=0.0, until=1.0))
    choice = Choice(ours, steps=4)
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    for step, amount in enumerate((0, 1000 - 367, 367 - 134, 134 - 100)):
        choice.before_step(step, optimizer)
        if amount:
            prune.l1_unstructured(theirs, "weight", amount=amount)
        assert torch.equal(ours.weight, theirs.weight)


def test_what_was_cut_comes_back_when_it_is_stronger_at_a_later_cut() -> None:
    layer = nn.Linear(4, 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    edges = GmpEdges((1, 4), 2, every=1, start=0.0, until=1.0)
    wire(layer, edges)
    choice, optimizer = Choice(layer, steps=3), torch.optim.SGD(layer.parameters(), lr=0.1)
    choice.before_step(1, optimizer)
    assert edges.mask.tolist() == [[False, True, True, True]]
    with torch.no_grad():
        raw_weight(layer)[0, 1] = 0.5
    choice.before_step(2, optimizer)
    assert edges.mask.tolist() == [[False, False, True, True]]
    with torch.no_grad():
        raw_weight(layer)[0, 0] = 9.0
    choice.before_step(2, optimizer)
    assert edges.mask.tolist() == [[True, False, False, True]]


@pytest.mark.parametrize("budget", [0, 1000])
def test_of_nothing_or_all(budget: int) -> None:
    edges = planned(10, budget=budget, every=1)
    assert edges.edges_at(9) == budget
    assert edges.edges_at(1) == 1000
