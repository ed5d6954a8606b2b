"""Learned thresholds, and the budget at the end."""

from __future__ import annotations

import math

import torch
from torch import nn

from dnw.wiring import Choice, raw_weight, wire
from dnw.wiring.scheduled.soft_threshold import SoftThresholdEdges

LOGIT = math.log(0.2 / 0.8)  # the sigmoid of it is 0.2


def wired(budget: int) -> tuple[nn.Linear, SoftThresholdEdges, Choice]:
    layer = nn.Linear(5, 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[0.9, -0.6, 0.3, -0.1, 0.05]]))
    edges = SoftThresholdEdges((1, 5), budget, threshold=LOGIT, until=0.5)
    wire(layer, edges)
    return layer, edges, Choice(layer, steps=4)


def test_magnitudes_are_lowered_by_the_threshold() -> None:
    layer, edges, _ = wired(2)
    assert torch.allclose(layer.weight, torch.tensor([[0.7, -0.4, 0.1, 0.0, 0.0]]))
    assert edges.mask.tolist() == [[True, True, True, False, False]]


def test_weight_and_threshold_learn() -> None:
    layer, edges, _ = wired(2)
    layer.weight.sum().backward()
    assert raw_weight(layer).grad.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0]]
    # d/ds of -(1 - 1 + 1) sigmoid(s)
    assert edges.threshold.grad is not None
    assert math.isclose(float(edges.threshold.grad), -0.2 * 0.8, rel_tol=1e-5)


def test_the_strongest_are_kept_at_the_end_with_the_threshold_taken_off() -> None:
    layer, edges, choice = wired(2)
    choice.before_step(2, torch.optim.SGD(layer.parameters(), lr=0.1))
    choice.choose(3)
    assert edges.mask.tolist() == [[True, True, False, False, False]]
    assert torch.allclose(layer.weight, torch.tensor([[0.7, -0.4, 0.0, 0.0, 0.0]]))
    layer.weight.sum().backward()
    assert raw_weight(layer).grad.tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0]]
    assert float(edges.threshold.grad) == 0


def test_where_fewer_are_left_the_strongest_of_the_rest_begin_at_zero() -> None:
    layer, edges, choice = wired(4)
    choice.before_step(2, torch.optim.SGD(layer.parameters(), lr=0.1))
    assert edges.mask.tolist() == [[True, True, True, True, False]]
    assert torch.allclose(layer.weight, torch.tensor([[0.7, -0.4, 0.1, 0.0, 0.0]]))
