"""Rounds of pruning, each from the weights of an early step."""

from __future__ import annotations

import torch
from torch import nn

from dnw.wiring import Choice, raw_weight, wire
from dnw.wiring.scheduled.lottery import LotteryEdges


def test_each_round_leaves_the_same_share() -> None:
    edges = LotteryEdges((10, 100), 8, rounds=3, start=0.1, until=0.7)
    edges.plan(torch.zeros(10, 100), 100)
    assert edges.ends() == {30: 200, 50: 40, 70: 8}
    edges.plan(torch.zeros(10, 100), 1)
    assert edges.ends() == {0: 8}


def test_the_strongest_of_those_left_begin_again_from_the_early_step() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 4, bias=False)
    edges = LotteryEdges((4, 8), 8, rounds=2, start=0.125, until=0.625)
    wire(layer, edges)
    choice = Choice(layer, steps=8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    raw, counts, early = raw_weight(layer), [], torch.empty(0)
    for step in range(8):
        layer(torch.randn(3, 8)).square().sum().backward()
        before, mask = raw.detach().clone(), edges.mask.clone()
        choice.before_step(step, optimizer)
        counts.append(int(edges.mask.sum()))
        if step == 1:
            early = before
        if step in (3, 5):
            assert not (edges.mask & ~mask).any()
            assert before.abs()[edges.mask].min() >= before.abs()[mask & ~edges.mask].max()
            assert torch.equal(raw, early * edges.mask)
            assert not optimizer.state[raw]["momentum_buffer"].any()
        optimizer.step()
        if step in (3, 5):
            assert torch.equal(raw, early * edges.mask)
        optimizer.zero_grad()
    assert counts == [32, 32, 32, 16, 16, 8, 8, 8]
