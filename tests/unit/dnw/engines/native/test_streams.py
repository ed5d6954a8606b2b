"""Edges in the order in which sums stream."""

from __future__ import annotations

import numpy as np
import pytest

from dnw.engines.native import streams
from dnw.engines.native.memory import Pick
from dnw.engines.native.stream_vector import ALONE, APART, STREAMED
from dnw.engines.native.streams import Share
from dnw.engines.native.vector import LANES


@pytest.mark.parametrize("vectors", [STREAMED, ALONE])
@pytest.mark.parametrize("part", [2, 5, 100])
def test_all_edges_are_there_once(part: int, vectors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PART", part * 4 * vectors * LANES)
    monkeypatch.setattr(streams, "_FEWEST", 1)
    draw = np.random.default_rng(part)
    matrix_TS = draw.normal(size=(12, 20)).astype(np.float32) * (draw.random((12, 20)) < 0.3)
    matrix_TS[3:5] = matrix_TS[3] != 0  # two targets with the same sources
    matrix_TS[4] *= 2
    targets, sources = np.nonzero(matrix_TS)
    pick = Pick(np.bincount(targets, minlength=12), 100 * sources, matrix_TS[targets, sources])
    alike = np.ones(12, np.int64)
    alike[3] = 2
    shares = [Share.of(pick, alike, span, 10, vectors) for span in ((0, 7), (7, 12))]
    found = streams.streams([None, *shares])
    assert found.runs.tolist()[:2] == [0, 0]
    received_TS = np.zeros_like(matrix_TS)
    begun: list[int] = []
    for run, together in enumerate(found.together.tolist()):
        apart = APART if together == 1 else 1
        offset, weight = int(found.first_offsets[run]), int(found.first_weights[run])
        for bundle in range(found.bundles[run], found.bundles[run + 1]):
            targets = (found.places[bundle * APART :][:apart] // 10).tolist()
            sums_TS = {target: np.zeros((together, 20), np.float32) for target in targets}
            begun += [] if found.begun[run] else targets
            for _ in range(found.stops[bundle], found.stops[bundle + 1]):
                for piece, target in enumerate(targets):
                    if targets.index(target) == piece:  # what lacks in a bundle is there twice
                        sums_TS[target][:, found.offsets[offset + piece] // 100] += found.weights[weight:][
                            :together
                        ]
                    weight += together
                offset += apart
            for target, sums_S in sums_TS.items():
                received_TS[target : target + together] += sums_S
    np.testing.assert_array_equal(received_TS, matrix_TS)
    leaders = {*range(12)} - ({4} if vectors == STREAMED else set())
    assert set(begun) == leaders  # the first part has all targets


def test_parts_have_edges_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PART", 100 * 4 * ALONE * LANES)
    for fewest, parts in ((1, 5), (10, 3), (50, 1)):
        monkeypatch.setattr(streams, "_FEWEST", fewest)
        assert streams._parts(500, 35.0, ALONE) == parts
