"""In what order strips of maps are computed: depth first, so that a strip is read while it is in the cache.

A phase can take its next strip as soon as the phase before has given out the rows that it needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = np.dtype(
    [
        ("phase", np.int64),
        ("top", np.int64),  # first row that is given out
        ("bottom", np.int64),  # row after the last one
        ("begun", np.int64),  # first pixel to sum up; those before are there from the strip before
        ("done", np.int64),  # pixel after the last one; both are multiples of the grain
        ("lag", np.int64),  # how many pixels of the map lie before the strip
    ]
)


def schedule(phases: NDArray[np.void], grain: int) -> NDArray[np.void]:
    """Put the strips of all phases into an order: always the last phase that can go on.

    Sums are computed for `grain` pixels at a time.
    """
    given = [0] * len(phases)  # rows that each phase has given out so far
    steps = []
    while given[-1] < phases[-1]["side"]:
        at = max(at for at in range(len(phases)) if _can_go_on(phases, given, at))
        steps.append(_step(phases, given, at, grain))
        given[at] = _bottom(phases[at], given[at])
    return np.array(steps, STEP)


def _can_go_on(phases: NDArray[np.void], given: list[int], at: int) -> bool:
    if given[at] == phases[at]["side"]:
        return False
    return at == 0 or given[at - 1] >= _needed(phases[at], _bottom(phases[at], given[at]))


def _bottom(phase: np.void, top: int) -> int:
    return int(min(top + phase["strip"], phase["side"]))


def _needed(phase: np.void, bottom: int) -> int:
    """Rows of what is received that the rows above `bottom` are filtered from."""
    return int(min((bottom - 1) * phase["stride"] + 2, phase["received_side"])) if bottom else 0


def _step(phases: NDArray[np.void], given: list[int], at: int, grain: int) -> tuple[int, ...]:
    phase, top = phases[at], given[at]
    bottom = _bottom(phase, top)
    pitch, stride = phase["received_pitch"], phase["stride"]
    begun = _needed(phase, top) * pitch // grain * grain  # the last vector went beyond what there was
    done = -(-_needed(phase, bottom) * pitch // grain) * grain
    return at, top, bottom, begun, done, top * stride * pitch
