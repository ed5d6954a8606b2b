"""What targets receive: sums over their edges, a few vectors of pixels at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnw.engines.native.options import compiled
from dnw.engines.native.pairs import MOST_PAIRS, PAIR, add_pairs, add_pairs_2, add_pairs_3, add_pairs_4
from dnw.engines.native.vector import LANES, LARGEST_TILE, add_up, add_up_2, add_up_3, add_up_4

Floats = NDArray[np.float32]

MINUS_INFINITY = np.float32(-np.inf)
_ZERO = np.float32(0)


@compiled
def sums(
    maps: Floats,
    phase: Any,
    step: Any,
    targets: Any,
    edges: Any,
    first: int,
    last: int,
    received: int,
) -> None:
    """Write what the targets first..last receive, the first one to maps[received:]."""
    floor = _ZERO if phase.rectified else MINUS_INFINITY
    vectors = (step.done - step.begun) // LANES
    size = phase.received_size
    target = first
    while target < last:
        together = min(targets.alike[target], last - target)
        edge = edges.offsets, edges.weights, targets.starts[target], targets.starts[target + 1]
        bias = targets.biases, target, floor
        most = LARGEST_TILE // together
        tiles = (vectors + most - 1) // most
        for tile in range(tiles):
            begin, end = vectors * tile // tiles, vectors * (tile + 1) // tiles
            pixel = step.begun + begin * LANES
            place, kept = received + (target - first) * size + pixel, phase.kept_at + pixel
            if together == 1:
                add_up(end - begin, maps, *edge, pixel, *bias, kept, place, size)
            elif together == 2:
                add_up_2(end - begin, maps, *edge, pixel, *bias, kept, place, size)
            elif together == 3:
                add_up_3(end - begin, maps, *edge, pixel, *bias, kept, place, size)
            else:
                add_up_4(end - begin, maps, *edge, pixel, *bias, kept, place, size)
        target += together


@compiled
def sums_of_pairs(
    maps: Floats,
    phase: Any,
    step: Any,
    targets: Any,
    edges: Any,
    first: int,
    last: int,
    received: int,
) -> None:
    """Do what sums does where two pixels of the sources are in a word: a few of all targets at a time."""
    floor = _ZERO if phase.rectified else MINUS_INFINITY
    size = phase.received_size
    vectors = (step.done - step.begun) // PAIR
    columns = (vectors + MOST_PAIRS[0] - 1) // MOST_PAIRS[0]
    for column in range(columns):
        left, right = vectors * column // columns, vectors * (column + 1) // columns
        target = first
        while target < last:
            together = min(targets.alike[target], last - target)
            edge = edges.offsets, edges.weights, targets.starts[target], targets.starts[target + 1]
            bias = targets.biases, target, floor
            most = MOST_PAIRS[together - 1]
            for begin in range(left, right, most):
                count = min(most, right - begin)
                pixel = step.begun + begin * PAIR
                place, kept = received + (target - first) * size + pixel, phase.kept_at + pixel
                if together == 1:
                    add_pairs(count, maps, *edge, pixel // 2, *bias, kept, place, size)
                elif together == 2:
                    add_pairs_2(count, maps, *edge, pixel // 2, *bias, kept, place, size)
                elif together == 3:
                    add_pairs_3(count, maps, *edge, pixel // 2, *bias, kept, place, size)
                else:
                    add_pairs_4(count, maps, *edge, pixel // 2, *bias, kept, place, size)
            target += together
