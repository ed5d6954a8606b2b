"""The choice of edges: exact, deterministic, the same on every device."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from dnw.wiring import selection
from dnw.wiring.selection import LegalPositions, _largest_on_device, largest


def sorted_choice(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    """The definition: a stable sort by falling magnitude."""
    size = weight.abs().flatten().double()
    if legal is not None:
        size[~legal.flatten()] = -1
    chosen = torch.zeros(size.numel(), dtype=torch.bool)
    chosen[torch.sort(size, descending=True, stable=True).indices[:budget]] = True
    return chosen.view(weight.shape)


@given(st.data())
def test_both_ways_choose_as_a_stable_sort_does(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    # few distinct values: most draws have ties at the threshold
    weight = torch.from_numpy(data.draw(arrays.arrays(np.int8, n, elements=st.integers(-3, 3)))).float()
    legal = torch.from_numpy(data.draw(arrays.arrays(np.bool_, n)))
    legal[data.draw(st.integers(0, n - 1))] = True
    among = data.draw(st.sampled_from([None, legal]))
    budget = data.draw(st.integers(1, n if among is None else int(among.sum())))
    expected = sorted_choice(weight, among, budget)
    assert int(expected.sum()) == budget
    assert torch.equal(largest(weight, among, budget), expected)
    assert torch.equal(_largest_on_device(weight, among, budget), expected)


@given(st.data(), st.sampled_from([0.0, 1.0, 4.0]))
def test_neither_chunks_nor_a_high_bound_change_the_choice(data: st.DataObject, deviations: float) -> None:
    """A bound of no or one deviation, which too few often reach, over several chunks."""
    n = data.draw(st.integers(1, 400))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**16)))
    weight = torch.randn(n, generator=random).mul_(data.draw(st.sampled_from([1, 9, 1e9]))).round_()
    legal = torch.rand(n, generator=random) < 0.6
    legal[0] = True
    among = data.draw(st.sampled_from([None, legal]))
    budget = data.draw(st.integers(1, n if among is None else int(among.sum())))
    with mock.patch.multiple(selection, CHUNK=64, DEVIATIONS=deviations):
        assert torch.equal(largest(weight, among, budget), sorted_choice(weight, among, budget))


@pytest.mark.parametrize("sampled", [2.0, 0.5], ids=["larger", "smaller"])
def test_a_sample_unlike_the_rest_changes_nothing(sampled: float) -> None:
    weight = torch.rand(200_000, generator=torch.Generator().manual_seed(4)) + 1
    places = torch.from_numpy(selection.sample(len(weight)))
    weight[places.unique()] *= sampled
    for budget in (1, 1000, 150_000, len(weight)):
        assert torch.equal(largest(weight, None, budget), sorted_choice(weight, None, budget))


def test_a_network_that_came_to_nothing_gets_its_edges_all_the_same() -> None:
    weight = torch.tensor([torch.nan, 1, -torch.inf, -torch.nan, 2])
    assert [int(largest(weight, None, budget).sum()) for budget in range(6)] == list(range(6))


def test_many_equal_weights_are_chosen_from_the_lowest_index() -> None:
    chosen = largest(torch.full((50, 40), -0.5), None, 60)
    assert chosen.flatten().nonzero().flatten().tolist() == list(range(60))


def test_memory_format_does_not_change_the_choice() -> None:
    weight = torch.randint(-3, 4, (6, 5, 3, 3), generator=torch.Generator().manual_seed(0)).float()
    legal = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    chosen = largest(weight, legal, 40)
    assert torch.equal(largest(weight.contiguous(memory_format=torch.channels_last), legal, 40), chosen)
    assert torch.equal(chosen, sorted_choice(weight, legal, 40))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_takes_other_floating_types(dtype: torch.dtype) -> None:
    weight = torch.arange(-8, 9).to(dtype)
    assert torch.equal(largest(weight, None, 5), sorted_choice(weight, None, 5))


@given(st.data())
def test_a_choice_made_again_in_the_same_memory_is_the_same(data: st.DataObject) -> None:
    """As training makes it: legal positions in rectangles, found once, and last step's choice in the way."""
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**16)))
    rows, columns = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    legal = torch.zeros(rows, columns, dtype=torch.bool)
    for _ in range(data.draw(st.integers(1, 3))):
        top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        legal[
            top : data.draw(st.integers(top + 1, rows)), left : data.draw(st.integers(left + 1, columns))
        ] = True
    with mock.patch.object(selection, "CHUNK", data.draw(st.sampled_from([20, 400, 1 << 18]))):
        among, out = LegalPositions(legal.shape, legal), torch.rand(legal.shape, generator=random) < 0.5
        assert among.legal_TS is None  # or rectangles would not be tried
        for _ in range(2):
            weight = torch.randn(legal.shape, generator=random).mul_(3).round_()
            budget = data.draw(st.integers(0, int(legal.sum())))
            assert largest(weight, legal, budget, positions=among, out=out) is out
            assert torch.equal(out, sorted_choice(weight, legal, budget))


def test_large_matrix_agrees_with_sort() -> None:
    weight = torch.randn(700, 900, generator=torch.Generator().manual_seed(2))
    legal = torch.zeros(700, 900, dtype=torch.bool)
    legal[:, :300] = True
    assert torch.equal(largest(weight, legal, 31_000), sorted_choice(weight, legal, 31_000))
