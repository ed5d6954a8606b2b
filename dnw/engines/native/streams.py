"""Edges in the order in which sums stream: parts of a layer's sources that the level-1 cache holds, in turn.

Of a layer with many sources a few pixels at a time are added up (stream_vector.py). The sources are taken in
parts; a part and a target have some edges in common, a piece. Pieces of a part are in the order of their
number of edges, so that the loop over them mostly ends where it ended before, as the CPU foresees.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnw.engines.native.memory import Pick
from dnw.engines.native.stream_vector import AHEAD, STREAMED
from dnw.engines.native.vector import LANES, TOGETHER

Ints = NDArray[np.int64]
_PART = (24 << 10) // (4 * STREAMED * LANES)  # sources: three quarters of a level-1 cache of 32 KiB


class Streams(NamedTuple):
    """What the threads of a team stream, in each phase."""

    runs: NDArray[np.int64]  # [phases * threads + 1]: thread i of n in phase p takes those from [p * n + i]
    together: NDArray[np.int64]  # of a run: targets that are added up at a time
    begun: NDArray[np.int64]  # whether its targets have received something before
    pieces: NDArray[np.int64]  # [runs + 1], its pieces
    first_weights: NDArray[np.int64]  # where its weights begin
    places: NDArray[
        np.int32
    ]  # of a piece (and AHEAD more): where its target receives, from where the first does
    stops: NDArray[np.int32]  # [pieces + 1], its edges
    offsets: NDArray[np.int32]  # of an edge
    weights: NDArray[np.float32]  # of an edge, for each target


@dataclasses.dataclass(frozen=True)
class Share:
    """What a thread streams in a phase: targets in groups of the same sources."""

    leaders: Ints  # [G], the first target of each group
    sizes: Ints  # [G], targets of each
    pick: Pick
    size: int  # floats from what a target receives to what the next one does

    @classmethod
    def of(cls, pick: Pick, alike: Ints, first: int, last: int, size: int) -> Share:
        """Group the targets first..last."""
        leaders, sizes = [], []
        while first < last:
            leaders.append(first)
            sizes.append(min(int(alike[first]), last - first, TOGETHER))
            first += sizes[-1]
        return cls(np.array(leaders, np.int64), np.array(sizes, np.int64), pick, size)


def streams(shares: list[Share | None]) -> Streams:
    """Lay out what threads stream, in the order of phases and threads; None where they don't."""
    parts = [_runs(share) if share is not None and len(share.leaders) else [] for share in shares]
    runs = [run for part in parts for run in part]
    empty = np.zeros(0, np.int64)

    def joined(name: str) -> Ints:
        return np.concatenate([empty, *(getattr(run, name) for run in runs)])

    counts = joined("counts")
    return Streams(
        np.cumsum([0, *(len(part) for part in parts)]),
        np.array([run.together for run in runs], np.int64),
        np.array([run.begun for run in runs], np.int64),
        np.cumsum([0, *(len(run.counts) for run in runs)]),
        np.cumsum([0, *(len(run.weights) for run in runs)]),
        np.pad(joined("places"), (0, AHEAD)).astype(np.int32),
        np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        joined("offsets").astype(np.int32),
        joined("weights").astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class _Run:
    """Pieces of one part with as many targets each."""

    together: int
    begun: bool
    places: Ints
    counts: Ints
    offsets: Ints
    weights: NDArray[np.float32]


def _runs(share: Share) -> list[_Run]:
    pick = share.pick
    starts = np.concatenate(([0], np.cumsum(pick.counts)))
    counts = pick.counts[share.leaders]
    groups = np.repeat(np.arange(len(counts)), counts)
    edges = (
        np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[share.leaders][groups]
    )
    sources, order = np.unique(pick.offsets[edges], return_inverse=True)
    parts = -(-len(sources) // _PART)
    part = order * parts // max(len(sources), 1)
    runs = []
    for at in range(max(parts, 1)):
        for together in np.unique(share.sizes).tolist():
            own = (part == at) & (share.sizes[groups] == together)
            found = np.bincount(groups[own], minlength=len(counts))
            wanted = (share.sizes == together) & ((found > 0) | (at == 0))
            pieces = np.flatnonzero(wanted)
            if not len(pieces):
                continue
            pieces = pieces[np.argsort(found[pieces], kind="stable")]
            place = np.empty(len(counts), np.int64)
            place[pieces] = np.arange(len(pieces))
            chosen = np.flatnonzero(own)
            chosen = chosen[np.lexsort((order[chosen], place[groups[chosen]]))]
            steps = pick.counts[share.leaders][groups[chosen]]  # to the same edge of the next target
            weights = pick.weights[edges[chosen, None] + steps[:, None] * np.arange(together)]
            places = share.leaders[pieces] * share.size
            runs.append(
                _Run(together, at > 0, places, found[pieces], pick.offsets[edges[chosen]], weights.ravel())
            )
    return runs
