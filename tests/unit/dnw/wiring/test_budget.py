"""How many edges, exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnw.wiring.budget import budget, erk, remaining

SHAPES = st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=4), min_size=1, max_size=8)


def test_computed_from_decimal_digits() -> None:
    assert (budget(0.05, 640_000, 1), budget(0.3, 100, 2), remaining(0.7, 40)) == (32_000, 9, 12)


def test_erk_is_in_proportion_to_the_sum_of_dimensions() -> None:
    # of RigL's paper: 1 - (in + out + height + width) / (in out height width), times one number for all
    shapes = [(64, 64, 3, 3), (512, 256, 1, 1), (100, 100)]
    found = erk(9_000, shapes)
    scale = 9_000 / sum(map(sum, shapes))
    assert found == [pytest.approx(scale * sum(shape), abs=1) for shape in shapes]


def test_erk_leaves_dense_what_can_not_hold_its_share() -> None:
    assert erk(1_000, [(4, 4), (100, 100), (100, 100)]) == [16, 492, 492]


@given(shapes=SHAPES, share=st.floats(0, 1))
@settings(deadline=None)
def test_erk_uses_up_the_budget_and_no_more_than_there_is(shapes: list[list[int]], share: float) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    asked = int(share * sum(sizes))
    found = erk(asked, shapes)
    assert sum(found) == asked
    assert all(0 <= one <= size for one, size in zip(found, sizes, strict=True))
