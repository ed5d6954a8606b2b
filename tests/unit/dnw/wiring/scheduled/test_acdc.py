"""Compressed and decompressed in turn."""

from __future__ import annotations

import torch
from torch import nn

from dnw.wiring import Choice, raw_weight, wire
from dnw.wiring.scheduled.acdc import AcdcEdges


def test_phases_are_equally_long_and_the_last_is_compressed() -> None:
    edges = AcdcEdges((4, 4), 3, cycles=3, start=0.1, until=0.85)
    edges.plan(torch.zeros(4, 4), 200)
    assert edges.phases() == {20: True, 45: False, 70: True, 95: False, 120: True, 145: False, 170: True}
    edges.plan(torch.zeros(4, 4), 1)
    assert edges.phases() == {0: True}


def test_what_is_cut_comes_back_at_zero_and_the_optimizer_at_rest() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 4, bias=False)
    edges = AcdcEdges((4, 8), 10, cycles=1, start=0.25, until=0.75)
    wire(layer, edges)
    choice = Choice(layer, steps=8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    counts = []
    for step in range(8):
        layer(torch.randn(3, 8)).square().sum().backward()
        before = raw_weight(layer).detach().clone()
        choice.before_step(step, optimizer)
        counts.append(int(edges.mask.sum()))
        momentum = optimizer.state[raw_weight(layer)].get("momentum_buffer")
        if step in (2, 6):
            kept = before.abs() >= before.abs().flatten().topk(10).values[-1]
            assert torch.equal(raw_weight(layer), before * kept)
        if step == 4:
            assert momentum is not None
            assert not momentum.any()
            assert int(before.count_nonzero()) == 10
        optimizer.step()
        optimizer.zero_grad()
        choice.choose(step + 1)
    assert counts == [32, 32, 10, 10, 32, 32, 10, 10]
