"""Growing at random."""

from __future__ import annotations

import torch

from dnw.wiring import draw
from dnw.wiring.scheduled.set import SetEdges


def grown(key: int, step: int) -> torch.Tensor:
    edges = SetEdges(draw((30, 40), 600, key=(0,)), key=(key,), every=1, drop=0.5, until=1.0)
    edges.plan(torch.zeros(30, 40), 100)
    before = edges.mask.clone()
    edges.change(torch.ones(30, 40), step, [])
    return edges.mask & ~before


def test_it_is_a_function_of_key_and_step() -> None:
    assert torch.equal(grown(1, 5), grown(1, 5))
    assert not torch.equal(grown(1, 5), grown(2, 5))
    assert not torch.equal(grown(1, 5), grown(1, 6))


def test_every_free_position_is_as_likely() -> None:
    # 300 of 900 that are free; 300 of these have just been dropped
    counts = torch.stack([grown(1, step) for step in range(60)]).float().mean(0)
    free = ~draw((30, 40), 600, key=(0,))
    assert abs(float(counts[free].mean()) - 1 / 3) < 0.01
    assert counts[free].std() < 1.2 * (2 / 9 / 60) ** 0.5
    assert not counts[~free].any()
