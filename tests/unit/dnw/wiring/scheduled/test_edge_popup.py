"""Scores are trained, weights are not."""

from __future__ import annotations

import torch
from torch import nn

from dnw.wiring import Choice, raw_weight, wire
from dnw.wiring.scheduled.edge_popup import EdgePopupEdges


def wired(key: int = 0) -> tuple[nn.Linear, EdgePopupEdges, torch.Tensor]:
    torch.manual_seed(0)
    layer = nn.Linear(20, 10, bias=False)
    before = layer.weight.detach().clone()
    edges = EdgePopupEdges((10, 20), 60, key=(key,))
    wire(layer, edges)
    return layer, edges, before


def test_the_frozen_weights_of_the_largest_scores() -> None:
    layer, edges, before = wired()
    scores = raw_weight(layer).detach().abs()
    assert torch.equal(layer.weight, before * edges.mask)
    assert int(edges.mask.sum()) == 60
    assert scores[edges.mask].min() >= scores[~edges.mask].max()


def test_the_gradient_of_a_score_is_that_of_its_weight_times_the_weight() -> None:
    layer, _, before = wired()
    upstream = torch.randn(10, 20)
    (layer.weight * upstream).sum().backward()
    assert torch.equal(raw_weight(layer).grad, upstream * before)


def test_training_changes_edges_and_no_weight() -> None:
    layer, edges, before = wired()
    mask = edges.mask.clone()
    optimizer, choice = torch.optim.SGD(layer.parameters(), lr=1.0), Choice(layer, steps=2)
    layer(torch.randn(5, 20)).square().sum().backward()
    choice.before_step(0, optimizer)
    optimizer.step()
    choice.choose(1)
    assert not torch.equal(edges.mask, mask)
    assert torch.equal(layer.weight, before * edges.mask)


def test_scores_are_uniform_and_a_function_of_the_key() -> None:
    (one, _, _), (same, _, _), (other, _, _) = wired(), wired(), wired(1)
    scores = raw_weight(one).detach()
    assert torch.equal(scores, raw_weight(same))
    assert not torch.equal(scores, raw_weight(other))
    assert scores.flatten().sort().values.diff().std() < 1e-6
    assert abs(float(scores.abs().max()) - 20**-0.5) < 0.01
