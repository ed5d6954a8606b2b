"""Weights that have one budget together: edges in blocks (single ones: test_network.py)."""

from __future__ import annotations

import dataclasses

import example
import pytest
import torch

from dnw.config import Wiring
from dnw.wiring import Pool
from dnw.wiring.blocks import by_blocks
from dnw.wiring.making import make_sharing_edges

NAMES = ["dnw", "no_update", "random", "td", "reg_td", "fine_tune", "one_shot"]


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_share_a_budget(name: str) -> None:
    train = dataclasses.replace(example.train(), wiring=Wiring(name=name, source="x", block=4))  # type: ignore[arg-type]
    shapes = [(8, 6), (10, 3, 3, 3)]
    made = make_sharing_edges(train, shapes, 101)
    weights = [torch.randn(shape, generator=torch.Generator().manual_seed(7)) for shape in shapes]
    if made[0].pool is None:
        for edges, weight in zip(made, weights, strict=True):
            edges.begin(weight)
        masks = [edges.mask for edges in made]
    else:
        masks = list(made[0].pool.strongest(weights))
    assert sum(int(mask.sum()) for mask in masks) == 101
    if name != "reg_td":
        parts = [by_blocks(mask, 4).view(-1, 4).sum(1) for mask in masks]
        whole = sum(int(((part == 4) | (part == 0)).sum()) for part in parts)
        rest = 27  # the last two rows of the second weight are blocks of two
        assert whole >= sum(len(part) for part in parts) - rest - 1


def test_a_pool_of_blocks_takes_the_largest_of_all() -> None:
    weights = [torch.ones(4, 2), 2 * torch.ones(2, 3)]
    one, other = Pool(8, block=2).strongest(weights)
    assert other.all()
    assert one.tolist() == [[True, False], [True, False], [False, False], [False, False]]


def test_more_edges_than_there_are_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="9 edges asked for, but there are 8 positions"):
        Pool(9, block=2).strongest([torch.ones(4, 2)])
