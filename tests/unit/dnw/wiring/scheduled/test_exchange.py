"""What is dropped and what is grown, for both wirings that exchange edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnw.wiring import Choice, draw, raw_weight, wire
from dnw.wiring.scheduled.exchange import ExchangedEdges
from dnw.wiring.scheduled.rigl import RiglEdges
from dnw.wiring.scheduled.set import SetEdges

WHEN: dict[str, Any] = {"every": 2, "drop": 0.3, "until": 1.0}
SHAPE = (10, 20)


def made(kind: str, legal: Tensor | None) -> ExchangedEdges:
    first = draw(SHAPE, 50, key=(0,), legal=legal)
    return (
        RiglEdges(first, legal=legal, **WHEN)
        if kind == "rigl"
        else SetEdges(first, key=(1,), legal=legal, **WHEN)
    )


@pytest.mark.parametrize("kind", ["rigl", "set"])
@pytest.mark.parametrize("legal", [None, torch.arange(200).view(SHAPE) % 3 != 0])
def test_the_weakest_go_and_as_many_come_at_zero_and_at_rest(kind: str, legal: Tensor | None) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(20, 10, bias=False)
    edges = made(kind, legal)
    wire(layer, edges)
    raw = raw_weight(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    choice = Choice(layer, steps=8)
    for step in range(4):
        choice.choose(step)
        layer(torch.randn(5, 20)).square().sum().backward()
        before, weight = edges.mask.clone(), raw.detach().clone()
        choice.before_step(step, optimizer)
        assert int(edges.mask.sum()) == 50
        assert legal is None or not (edges.mask & ~legal).any()
        if step != 2:
            assert torch.equal(edges.mask, before)
        else:
            gone, new = before & ~edges.mask, edges.mask & ~before
            count = int(edges.share_at(2) * 50)
            assert 0 < int(new.sum()) == int(gone.sum()) <= count
            weakest = weight.abs()[before].sort().values[:count]
            assert weight.abs()[gone].max() <= weakest[-1]
            assert not raw[new].any()
            assert raw.grad is not None
            assert not raw.grad[~(before & edges.mask)].any()
            assert not optimizer.state[raw]["momentum_buffer"][~(before & edges.mask)].any()
            assert torch.equal(raw[before & edges.mask], weight[before & edges.mask])
        optimizer.step()
        optimizer.zero_grad()
        assert not raw[~edges.mask].any(), "what is no edge is zero"


@pytest.mark.parametrize("kind", ["rigl", "set"])
def test_edges_are_exchanged_every_few_steps_before_the_end(kind: str) -> None:
    edges = made(kind, None)
    edges.plan(torch.zeros(SHAPE), 8)
    assert [step for step in range(8) if edges.is_due(step)] == [2, 4, 6]
