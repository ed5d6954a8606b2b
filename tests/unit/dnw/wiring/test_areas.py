"""Legal positions as rectangles: each of them in one, and nothing else."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dnw.wiring.areas import Area, areas
from dnw.wiring.layout import Layout


@given(arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_each_position_is_in_one_area(legal: npt.NDArray[np.bool_]) -> None:
    found = torch.zeros(legal.shape, dtype=torch.int64)
    for top, bottom, left, right in areas(torch.from_numpy(legal)):
        found[top:bottom, left:right] += 1
    assert found.tolist() == legal.astype(int).tolist()


def test_the_rows_of_a_layer_are_one_area() -> None:
    """nodes 0 1 | 2 3 | 4 5 | outputs 6 7"""
    legal = Layout((2, 2, 2, 2), rows=6, columns=6, outputs=2).legal()
    assert areas(legal) == [Area(0, 2, 0, 2), Area(2, 4, 0, 4), Area(4, 6, 0, 6)]


@pytest.mark.parametrize("lines", ["rows", "columns"])
def test_positions_all_over_the_matrix_are_not_split(lines: str) -> None:
    odd = torch.arange(200) % 2 == 1
    legal = odd[:, None] if lines == "rows" else odd[None]
    assert areas(legal.expand(200, 200)) is None
