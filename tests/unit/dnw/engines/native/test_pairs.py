"""Two pixels in a word: what is left of them, and sums over them, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from dnw.engines.native import pairs
from dnw.engines.native.pairs import PAIR, packed
from dnw.engines.native.vector import LANES, Reading, adder

Floats = NDArray[np.float32]
compiled: Callable[[Callable[..., Any]], Any] = numba.njit
ROUNDED = 2.0**-8  # of a number in bfloat16
LEAST = 2.0**-100


@pytest.fixture
def pixels() -> Floats:
    drawn = np.random.default_rng(0).normal(size=3 * PAIR).astype(np.float32)
    drawn[:8] = [0, -0.0, 1e-38, -1e-40, 3e38, -3e38, 1, -1]
    drawn[LANES : LANES + 4] = [0, -0.0, -1.5, 2e38]
    return drawn


def unpacked(words: Floats) -> Floats:
    lower = (words.view(np.uint32) << 16).view(np.float32)
    return np.stack((words.reshape(-1, LANES), lower.reshape(-1, LANES)), 1).ravel()


def test_a_pixel_is_off_by_one_rounding(pixels: Floats) -> None:
    words = packed(pixels)
    assert np.abs(words).min() >= LEAST * (1 - ROUNDED)  # no word is a denormal number
    np.testing.assert_allclose(unpacked(words), pixels, rtol=ROUNDED, atol=1.01 * LEAST)
    np.testing.assert_array_equal(
        packed(pixels[: 2 * PAIR + 3]), packed(np.pad(pixels[: 2 * PAIR + 3], (0, PAIR - 3)))
    )


def test_packs_and_unpacks(pixels: Floats) -> None:
    pack: Any = pairs.pack
    unpack: Any = pairs.unpack

    @compiled
    def run(maps: Floats, place: int) -> None:
        pack(3, maps, 1, place)
        unpack(maps, place + LANES, 512)

    maps = np.zeros(1024, np.float32)
    maps[1 : 1 + len(pixels)] = pixels
    run(maps, 300)
    words = packed(pixels)
    np.testing.assert_array_equal(maps[300 : 300 + len(words)].view(np.int32), words.view(np.int32))
    np.testing.assert_array_equal(maps[512 : 512 + PAIR], unpacked(words)[PAIR : 2 * PAIR])


@pytest.mark.parametrize("targets", [1, 2])
def test_sums_over_edges(pixels: Floats, targets: int) -> None:
    add: Any = adder(targets, Reading(pairs._unpacked, 2, 2, ahead=2))

    @compiled
    def run(maps: Floats, offsets: Any, weights: Floats, biases: Floats, place: int) -> None:
        at = np.float32(-0.5), 900, place, 4 * LANES
        add(2, maps, offsets, weights, 1, 3, LANES, biases, 0, *at)

    maps, size = np.zeros(1024, np.float32), 2 * PAIR
    sources = np.stack([pixels[PAIR:], pixels[::-1][: 2 * PAIR]])
    for at, source in enumerate(sources):
        maps[200 * at + LANES :][: 2 * LANES] = packed(source)
    maps[900 : 900 + size].view(np.int32)[:] = -1
    offsets, weights = np.array([9, 0, 200, 0, 0], np.int32), np.array([9, 0.5, -1, 2, 1], np.float32)
    biases = np.array([0.25, -0.25], np.float32)
    run(maps, offsets, weights, biases, 512)
    seen = np.stack([unpacked(packed(source)) for source in sources])
    for target in range(targets):
        expected = np.maximum(biases[target] + weights[1 + 2 * target :][:2] @ seen, -0.5)
        np.testing.assert_allclose(maps[512 + 4 * LANES * target :][:size], expected, rtol=1e-4, atol=1e-5)
