"""Growing by the gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dnw.training.optimizer import clip
from dnw.wiring import Choice, draw, raw_weight, wire
from dnw.wiring.scheduled.rigl import RiglEdges


def wired() -> tuple[nn.Module, RiglEdges]:
    layer = nn.Linear(4, 2, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[4.0, 3.0, 2.0, 1.0], [9.0, 9.0, 9.0, 9.0]]))
    edges = RiglEdges(draw((2, 4), 4, key=(0,)), every=1, drop=1.0, until=1.0)
    edges.mask.zero_()[0] = True
    wire(layer, edges)
    return layer, edges


def test_the_share_falls_along_a_cosine() -> None:
    edges = wired()[1]
    edges.plan(torch.zeros(2, 4), 101)
    for step in range(100):
        assert edges.share_at(step) == pytest.approx(0.5 * (1 + math.cos(step * math.pi / 100)))


def test_it_grows_where_the_gradient_is_largest_and_ties_go_to_the_lowest_index() -> None:
    layer, edges = wired()
    choice = Choice(layer, steps=4)  # the end is at 3: half of the edges go before the step after step 1.5
    edges.end = 2
    choice.choose(1)
    upstream = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, -0.8, 0.8, 0.6]])
    (layer.weight * upstream).sum().backward()
    assert torch.equal(raw_weight(layer).grad, upstream), "the gradient reaches every position"
    choice.before_step(1, torch.optim.SGD(layer.parameters(), lr=0.1))
    assert edges.mask.tolist() == [[True, True, False, False], [False, True, True, False]]


def test_the_gradient_is_dense_in_steps_that_need_it_alone() -> None:
    layer, edges = wired()
    edges._every = 3
    choice = Choice(layer, steps=9)
    for step in range(8):
        choice.choose(step)
        raw = raw_weight(layer)
        raw.grad = None
        layer.weight.sum().backward()
        assert raw.grad is not None
        assert int(raw.grad.count_nonzero()) == (8 if step in (3, 6) else 4)


def test_an_edge_that_is_dropped_and_grown_at_once_goes_on() -> None:
    layer, edges = wired()
    choice = Choice(layer, steps=3)
    choice.choose(1)
    (layer.weight * torch.tensor([[0.1, 0.1, 0.1, 9.0], [0.5, 0.6, 0.7, 0.8]])).sum().backward()
    edges.end = 2
    choice.before_step(1, torch.optim.SGD(layer.parameters(), lr=0.1))
    assert edges.mask.tolist() == [[True, True, False, True], [False, False, False, True]]
    assert raw_weight(layer)[0].tolist() == [4.0, 3.0, 0.0, 1.0]


def test_without_a_gradient_it_is_refused() -> None:
    layer, _ = wired()
    choice = Choice(layer, steps=4)
    with pytest.raises(ValueError, match="change them after the backward pass"):
        choice.before_step(1, torch.optim.SGD(layer.parameters(), lr=0.1))


def test_edges_grow_by_the_gradient_before_it_is_clipped_and_the_norm_is_that_of_edges() -> None:
    layer, edges = wired()
    choice = Choice(layer, steps=4)
    edges.end = 2
    choice.choose(1)
    (layer.weight * torch.tensor([[3.0, 4.0, 0.1, 0.1], [50.0, 80.0, 90.0, 60.0]])).sum().backward()
    choice.before_step(1, torch.optim.SGD(layer.parameters(), lr=0.1))
    clip(layer, 1.0)
    assert edges.mask.tolist() == [[True, True, False, False], [False, True, True, False]]
    expected = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.0] * 4])  # of the edges that stay, 3 and 4
    assert torch.allclose(raw_weight(layer).grad, expected, atol=1e-4)
