"""Sums that stream: instructions written by hand against numpy, and networks whose small maps all stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import torch
from drawn_compact import assert_same, by_torch, some_network

from dnw.engines.native import memory, stream_vector, streams
from dnw.engines.native.network import Native
from dnw.engines.native.stream_vector import STREAMED
from dnw.engines.native.vector import LANES

compiled: Callable[[Callable[..., Any]], Any] = numba.njit


@pytest.mark.parametrize("begun", [False, True])
def test_adds_pieces(begun: bool) -> None:
    stream_2: Any = stream_vector.stream_2
    places, stops, offsets = (np.array(of, np.int32) for of in ([0, 200], [1, 3, 3], [9, 0, 300, 9]))
    weights = np.array([9, 0.5, -1, 2, 1], np.float32)  # from the second on, two of an edge

    @compiled
    def run(maps: Any, begun: int, places: Any, stops: Any, offsets: Any, weights: Any) -> None:
        stream_2(maps, begun, 0, 2, places, stops, offsets, weights, 1, 7, 500, 100)

    maps, pixels = np.random.default_rng(0).normal(size=1200).astype(np.float32), STREAMED * LANES
    expected = maps.copy()
    for at, row in enumerate(([0.5, 2], [-1, 1], [0, 0], [0, 0])):
        place = slice(507 + 100 * at, 507 + 100 * at + pixels)
        expected[place] = (
            maps[place] * begun + row[0] * maps[7 : 7 + pixels] + row[1] * maps[307 : 307 + pixels]
        )
    run(maps, int(begun), places, stops, offsets, weights)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-6)


def test_finishes_sums() -> None:
    finish: Any = stream_vector.finish
    maps = np.random.default_rng(0).normal(size=200).astype(np.float32)
    kept = maps[100 : 100 + 2 * LANES].view(np.int32)
    kept[:] = -1
    kept[3] = 0

    @compiled
    def run(maps: Any) -> None:
        finish(2, maps, 5, np.float32(0.5), np.float32(0), 100)

    expected = maps.copy()
    pixels = slice(5, 5 + 2 * LANES)
    expected[pixels] = np.where(kept, np.maximum(maps[pixels] + np.float32(0.5), 0), 0)
    run(maps)
    np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize(("size", "normed"), [(9, False), (65, True)])
@pytest.mark.parametrize("threads", [1, 2])
def test_networks_that_stream(size: int, normed: bool, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_IN_CACHE", 0)
    monkeypatch.setattr(memory, "_DENSE", 0)
    monkeypatch.setattr(streams, "_PART", 8)
    torch.manual_seed(size)
    network = some_network(size, 1, 2, normed)
    images_BCHW = torch.randn(3, 3, size, size)
    logits_BK = torch.from_numpy(Native(network.arrays(), threads)(images_BCHW.numpy()))
    assert_same(logits_BK, by_torch(network, images_BCHW))
