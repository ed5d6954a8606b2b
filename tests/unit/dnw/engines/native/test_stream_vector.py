"""Sums that stream: instructions written by hand against numpy, and networks whose small maps all stream."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import torch
from drawn_compact import assert_same, by_torch, some_network

from dnw.engines.native import memory, plan, stream_vector, streams
from dnw.engines.native.network import Native
from dnw.engines.native.stream_vector import AHEAD, ALONE, APART, STREAMED
from dnw.engines.native.vector import LANES

compiled: Callable[[Callable[..., Any]], Any] = numba.njit


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_adds_bundles(begun: bool, alone: bool) -> None:
    stream: Any = stream_vector.stream_alone if alone else stream_vector.stream_2
    apart, together, wide = (APART, 1, ALONE) if alone else (1, 2, STREAMED)
    draw, pixels = np.random.default_rng(0), wide * LANES
    maps = draw.normal(size=2000).astype(np.float32)
    places = np.zeros((2 + AHEAD, APART), np.int32)
    places[:2, :apart] = 200 * np.arange(2 * apart).reshape(2, apart)
    stops = np.array([1, 3, 3], np.int32)  # two edges of the first bundle, none of the second
    sources = draw.choice(300, size=(2, apart)).astype(np.int32)
    factors = draw.normal(size=(2, apart, together)).astype(np.float32)
    offsets = np.concatenate(([9], sources.ravel()))
    weights = np.concatenate(([9, 9], factors.ravel())).astype(np.float32)

    @compiled
    def run(maps: Any, begun: int, places: Any, stops: Any, offsets: Any, weights: Any) -> None:
        stream(maps, begun, 0, 2, places, stops, offsets, 1, weights, 2, 7, 500, 100)

    expected = maps.copy()
    for bundle, piece, target in itertools.product(range(2), range(apart), range(together)):
        at = 507 + places[bundle, piece] + 100 * target
        sums = maps[at : at + pixels] * begun
        for edge in range(2 if bundle == 0 else 0):
            begin = 7 + sources[edge, piece]
            sums = sums + factors[edge, piece, target] * maps[begin : begin + pixels]
        expected[at : at + pixels] = sums
    run(maps, int(begun), places.ravel(), stops, offsets.astype(np.int32), weights)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize(("size", "stem", "normed"), [(9, 1, False), (65, 1, True), (70, 2, False)])
@pytest.mark.parametrize("threads", [1, 2])
def test_networks_that_stream(
    size: int, stem: int, normed: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_IN_CACHE", 0)
    monkeypatch.setattr(memory, "_DENSE", 0)
    monkeypatch.setattr(memory, "EDGES", 0)
    monkeypatch.setattr(streams, "_PART", 32 * LANES)
    monkeypatch.setattr(streams, "_FEWEST", 1)
    torch.manual_seed(size)
    network = some_network(size, stem, 2, normed)
    engine = Native(network.arrays(), threads)
    assert set(engine._plan.phases["streams"]) > {0}
    images_BCHW = torch.randn(3, 3, size, size)
    logits_BK = torch.from_numpy(engine(images_BCHW.numpy()))
    assert_same(logits_BK, by_torch(network, images_BCHW))


@pytest.mark.parametrize("size", [13, 70])
def test_targets_with_sources_of_their_own(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of them, in strips and whole maps; with registers of 512 bits the smallest maps alone."""
    monkeypatch.setattr(memory, "EDGES", 0)
    monkeypatch.setattr(plan, "_groups", len)
    monkeypatch.setattr(streams, "_PART", 32 * LANES)
    monkeypatch.setattr(streams, "_FEWEST", 1)
    torch.manual_seed(0)
    network = some_network(size, 1, 2, normed=False)
    engine = Native(network.arrays(), 2)
    phases = engine._plan.phases
    found = set(zip(phases["streams"].tolist(), phases["is_whole"].tolist(), strict=True))
    if size == 13:
        assert (ALONE, 1) in found
    elif LANES == 8:
        assert found >= {(ALONE, 0), (ALONE, 1)}
    images_BCHW = torch.randn(3, 3, size, size)
    logits_BK = torch.from_numpy(engine(images_BCHW.numpy()))
    assert_same(logits_BK, by_torch(network, images_BCHW))
