"""Instructions written by hand, against numpy; with few cases of each, for every one of them is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from dnw.engines.native import vector
from dnw.engines.native.vector import LANES

Floats = NDArray[np.float32]
compiled: Callable[[Callable[..., Any]], Any] = numba.njit


@pytest.fixture
def maps() -> Floats:
    return np.random.default_rng(0).normal(size=1024).astype(np.float32)


@pytest.mark.parametrize("targets", [1, 2])
def test_sums_over_edges(maps: Floats, targets: int) -> None:
    add_up: Any = vector.adder(targets, vector.Reading(vector._plain, 1, 2))

    @compiled
    def run(maps: Floats, offsets: Any, weights: Floats, biases: Floats, vectors: int, place: int) -> None:
        at = np.float32(-0.5), 900, place, 4 * LANES
        add_up(vectors, maps, offsets, weights, 1, 4, 3, biases, 1, *at)

    offsets = np.array([7, 0, 5, 2 * LANES], np.int32)  # the first is no edge of these targets
    weights = np.array([9, 0.5, -1, 2, 1, 1, -2], np.float32)
    biases = np.array([9, 0.25, -0.25], np.float32)
    kept = maps[900 : 900 + 2 * LANES].view(np.int32)
    kept[:] = -1
    kept[[2, LANES]] = 0
    for vectors in (1, 2):
        before, place = maps.copy(), 512
        run(maps, offsets, weights, biases, vectors, place)
        for target in range(targets):
            start, size = place + 4 * LANES * target, vectors * LANES
            sums = biases[1 + target] + sum(
                weight * before[offset + 3 : offset + 3 + size]
                for offset, weight in zip(offsets[1:], weights[1 + 3 * target :][:3], strict=True)
            )
            expected = np.where(kept[:size], np.maximum(sums, -0.5), 0)
            np.testing.assert_allclose(maps[start : start + size], expected, rtol=1e-5)
            assert np.array_equal(
                maps[start + size : start + 4 * LANES], before[start + size :][: 4 * LANES - size]
            )


def test_moves_vectors(maps: Floats) -> None:
    move: Any = vector.move

    @compiled
    def run(maps: Floats) -> None:
        move(2, maps, 3, 512)

    expected = maps.copy()
    expected[512 : 512 + 2 * LANES] = maps[3 : 3 + 2 * LANES]
    run(maps)
    assert np.array_equal(maps, expected)


def test_adds_vectors_up(maps: Floats) -> None:
    total_of: Any = vector.total_of

    @compiled
    def run(maps: Floats) -> float:
        return float(total_of(3, maps, 5))

    assert run(maps) == pytest.approx(float(maps[5 : 5 + 3 * LANES].sum()), rel=1e-4, abs=1e-4)


def test_halves_vectors(maps: Floats) -> None:
    halve: Any = vector.halve

    @compiled
    def run(pixels: Floats, maps: Floats) -> None:
        halve(2, pixels, 3, maps, 512, 700)

    pixels, expected = maps[:200].copy(), maps.copy()
    for place, first in ((512, 3), (700, 4)):
        expected[place : place + 2 * LANES] = pixels[first : first + 4 * LANES : 2]
    run(pixels, maps)
    assert np.array_equal(maps, expected)


def test_a_meeting_counts_who_has_come() -> None:
    @compiled
    def meet(counter: NDArray[np.int64]) -> int:
        vector.arrive(counter)
        vector.give_way()
        vector.arrive(counter)
        return int(vector.arrived(counter))

    counter = np.array([3], np.int64)
    assert meet(counter) == 5
    assert counter.tolist() == [5]
