"""Filters of maps, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from dnw.engines.native import filter_vector
from dnw.engines.native.vector import LANES

Floats = NDArray[np.float32]
compiled: Callable[[Callable[..., Any]], Any] = numba.njit


@pytest.mark.parametrize("stride", [1, 2])
def test_filters(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_vector, "FILTERED", 2)
    maps = np.random.default_rng(0).normal(size=1024).astype(np.float32)
    filter_flat: Any = filter_vector.filter_flat
    filter_by_two: Any = filter_vector.filter_by_two

    @compiled
    def flat(maps: Floats, filters: Floats) -> None:
        filter_flat(3, maps, 100, 40, filters, 9, 512)

    @compiled
    def by_two(maps: Floats, filters: Floats) -> None:
        filter_by_two(3, 1, maps, 100, 40, filters, 9, 512, LANES)

    filters, before = np.random.default_rng(1).normal(size=18).astype(np.float32), maps.copy()
    (flat if stride == 1 else by_two)(maps, filters)
    for row in range(3):
        for x in range(LANES):
            middle = 100 + (80 * row + 2 * x if stride == 2 else LANES * row + x)
            taps = [before[middle + 40 * down + right] for down in (-1, 0, 1) for right in (-1, 0, 1)]
            found = maps[512 + LANES * row + x]
            assert found == pytest.approx(float(np.dot(taps, filters[9:])), rel=1e-4, abs=1e-4)
    assert np.array_equal(maps[512 + LANES * 3 :], before[512 + LANES * 3 :])
