"""Edges in blocks of neighbouring targets: budget, legality, and structure, in every wiring."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import example
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dnw import models
from dnw.config import Wiring
from dnw.identity import signature
from dnw.wiring import DnwEdges, RegularTargetedDropoutEdges, choose_all, draw, edges_of
from dnw.wiring.blocks import by_blocks, from_blocks, scores
from dnw.wiring.making import make_edges
from dnw.wiring.targeted_dropout import legal_of_rows, share_out

NAMES = ["dnw", "no_update", "random", "td", "reg_td", "fine_tune", "one_shot"]


def by_hand(weight: Tensor, legal: Tensor, budget: int, block: int) -> Tensor:
    """Take whole blocks, the largest sum first, then the lowest index, until the budget is used up."""
    rows, columns = weight.shape
    found = []
    for top in range(0, rows, block):
        for column in range(columns):
            members = [row for row in range(top, min(top + block, rows)) if legal[row, column]]
            total = sum((weight[row, column].abs() for row in members), torch.zeros(()))
            found.append((-float(total), top, column, members))
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    places = [(row, column) for _, _, column, members in sorted(found) for row in members]
    for row, column in places[:budget]:
        mask[row, column] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 11),
    columns=st.integers(1, 9),
    block=st.integers(2, 5),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
    coarse=st.booleans(),
)
def test_the_largest_blocks_are_chosen(
    rows: int, columns: int, block: int, share: float, seed: int, coarse: bool
) -> None:
    drawn = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=drawn)
    weight = weight.round() if coarse else weight  # with ties
    legal = torch.rand(rows, columns, generator=drawn) < 0.8
    budget = int(share * int(legal.sum()))
    edges = DnwEdges(weight.shape, budget, legal=legal, block=block)
    edges.begin(weight)
    assert edges.mask.equal(by_hand(weight, legal, budget, block))


@pytest.mark.parametrize("shape", [(8, 5), (7, 5), (6, 3, 2, 2)])
def test_by_blocks_and_back(shape: Sequence[int]) -> None:
    values = torch.randn(tuple(shape))
    flat = by_blocks(values, 4)
    assert from_blocks(flat, shape, 4).equal(values)
    assert by_blocks(torch.tensor([[1, 2], [3, 4]]), 2).tolist() == [1, 3, 2, 4]
    assert scores(torch.tensor([[1.0, -2], [-3, 4]]), None, 2).tolist() == [4, 4, 6, 6]


@pytest.mark.parametrize("name", NAMES)
def test_budget_and_legality_in_every_wiring(name: str) -> None:
    train = dataclasses.replace(example.train(), wiring=Wiring(name=name, source="x", block=4))  # type: ignore[arg-type]
    legal = torch.ones(12, 10, 1, 1, dtype=torch.bool)
    legal[:4, 5:] = False
    edges = make_edges(train, 0, legal.shape, 42, legal=legal)
    edges.begin(torch.randn(12, 10, 1, 1, generator=torch.Generator().manual_seed(0)))
    assert int(edges.mask.sum()) == 42
    assert not (edges.mask & ~legal).any()
    uneven = int((edges.mask.view(3, 4, 10).sum(1) % 4 != 0).sum())
    # of reg_td each row has a budget, so in each of its three groups a block may be cut
    assert uneven <= (3 if name == "reg_td" else 1)


def test_rows_of_a_block_have_the_same_sources() -> None:
    rows = share_out(12, legal_of_rows((6, 8), None))
    edges = RegularTargetedDropoutEdges((6, 8), rows, rho=0.5, key=(1,), block=3)
    edges.begin(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)))
    assert edges.mask.sum(1).tolist() == [2] * 6
    assert edges.mask[0].equal(edges.mask[1])
    assert edges.mask[3].equal(edges.mask[5])


def test_blocks_are_drawn_by_their_key() -> None:
    one, same, other = (draw((8, 9), 20, key=key, block=4) for key in ((1,), (1,), (2,)))
    assert one.equal(same)
    assert not one.equal(other)
    assert one.sum() == 20


def test_a_model_loads_to_the_same_edges() -> None:
    train = example.train(wiring__block=4)
    model, other = models.build(train), models.build(dataclasses.replace(train, seed=5))
    other.load_state_dict(model.state_dict())
    choose_all(other, 0)
    for path, (_, edges) in edges_of(model).items():
        assert edges.mask.equal(edges_of(other)[path][1].mask)
        rows = edges.mask.flatten(1).view(-1, 4, edges.mask.shape[1]).sum(1)
        assert int((rows % 4 != 0).sum()) <= 1


def test_single_edges_keep_the_signature_of_earlier_versions() -> None:
    train = example.train()
    assert signature(train) == signature(dataclasses.replace(train, wiring=Wiring(name="dnw", block=1)))
    assert signature(train) != signature(example.train(wiring__block=4))
