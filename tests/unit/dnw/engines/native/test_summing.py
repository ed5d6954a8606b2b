"""Sums of several targets, more pixels than are taken at a time, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dnw.engines.native.options import compiled
from dnw.engines.native.pairs import PAIR, packed
from dnw.engines.native.plan import PHASE, KernelEdges, Targets
from dnw.engines.native.schedule import STEP
from dnw.engines.native.summing import sums, sums_of_pairs

SIZE = 17 * PAIR  # of a map


@pytest.mark.parametrize("in_pairs", [False, True])
def test_targets_with_and_without_sources_of_their_own(in_pairs: bool) -> None:
    @compiled
    def run(maps: Any, phases: Any, steps: Any, targets: Any, edges: Any) -> None:
        add = sums_of_pairs if in_pairs else sums
        add(maps, phases[0], steps[0], targets, edges, 0, 4, 3 * SIZE)

    generator = np.random.default_rng(0)
    sources = generator.normal(size=(2, SIZE)).astype(np.float32)
    maps = np.zeros(8 * SIZE, np.float32)
    for at, source in enumerate(sources):
        stored = packed(source) if in_pairs else source
        maps[at * SIZE :][: len(stored)] = stored
    maps[7 * SIZE :].view(np.int32)[:] = -1
    phases, steps = np.zeros(1, PHASE), np.zeros(1, STEP)
    for name, value in {"rectified": 1, "received_size": SIZE, "kept_at": 7 * SIZE}.items():
        phases[name] = value
    steps["begun"], steps["done"] = PAIR, SIZE
    weights, biases = (generator.normal(size=size).astype(np.float32) for size in (6, 4))
    offsets = np.pad(np.array([0, SIZE, 0, SIZE, SIZE, 0], np.int32), (0, 16))
    starts, alike = np.array([0, 2, 4, 5, 6]), np.array([2, 1, 1, 1])
    targets = Targets(starts, alike, biases, np.zeros(36, np.float32), np.zeros((4, 2), np.float32))
    run(maps, phases, steps, targets, KernelEdges(offsets, weights))
    for target in range(4):
        edges = slice(starts[target], starts[target + 1])
        expected = np.maximum(biases[target] + weights[edges] @ sources[offsets[:6][edges] // SIZE], 0)
        found = maps[(3 + target) * SIZE :][:SIZE]
        np.testing.assert_allclose(found[PAIR:], expected[PAIR:], rtol=1e-4, atol=0.05 if in_pairs else 1e-5)
        assert not found[:PAIR].any()
