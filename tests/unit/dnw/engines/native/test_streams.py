"""Edges in the order in which sums stream."""

from __future__ import annotations

import numpy as np
import pytest

from dnw.engines.native import streams
from dnw.engines.native.memory import Pick
from dnw.engines.native.streams import Share


@pytest.mark.parametrize("part", [2, 5, 100])
def test_all_edges_are_there_once(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_PART", part)
    draw = np.random.default_rng(part)
    matrix_TS = draw.normal(size=(12, 20)).astype(np.float32) * (draw.random((12, 20)) < 0.3)
    matrix_TS[3:5] = matrix_TS[3] != 0  # two targets with the same sources
    matrix_TS[4] *= 2
    targets, sources = np.nonzero(matrix_TS)
    pick = Pick(np.bincount(targets, minlength=12), 100 * sources, matrix_TS[targets, sources])
    alike = np.ones(12, np.int64)
    alike[3] = 2
    found = streams.streams([None, Share.of(pick, alike, 0, 7, 10), Share.of(pick, alike, 7, 12, 10)])
    assert found.runs.tolist()[:2] == [0, 0]
    received_TS, begun = np.zeros_like(matrix_TS), []
    for run, together in enumerate(found.together.tolist()):
        weight = int(found.first_weights[run])
        for piece in range(found.pieces[run], found.pieces[run + 1]):
            target = found.places[piece] // 10
            begun += [] if found.begun[run] else [target]
            for edge in range(found.stops[piece], found.stops[piece + 1]):
                for beside in range(together):
                    received_TS[target + beside, found.offsets[edge] // 100] += found.weights[weight + beside]
                weight += together
    np.testing.assert_array_equal(received_TS, matrix_TS)
    assert sorted(begun) == sorted({*range(12)} - {4})  # the first part has all targets
