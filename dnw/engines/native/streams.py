"""Edges in the order in which sums stream: parts of a layer's sources that the level-1 cache holds, in turn.

Of a layer with many sources a few pixels at a time are added up (stream_vector.py). The sources are taken in
parts; a part and a target have some edges in common, a piece. Pieces of a part are in the order of their
number of edges, so that the loop over them mostly ends where it ended before, as the CPU foresees; and those
that are added up at a time, a bundle, need few edges of weight zero to have as many each.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnw.engines.native.caches import level_1
from dnw.engines.native.memory import Pick
from dnw.engines.native.stream_vector import AHEAD, ALONE, APART, STREAMED
from dnw.engines.native.vector import LANES, TOGETHER

Ints = NDArray[np.int64]
_PART = 3 * (level_1() or 32 << 10) // 4  # bytes of sources: the rest of a level-1 cache is for targets
_FEWEST = 20  # edges in a part: fewer aren't worth reading and writing what is received


class Streams(NamedTuple):
    """What the threads of a team stream, in each phase."""

    runs: NDArray[np.int64]  # [phases * threads + 1]: thread i of n in phase p takes those from [p * n + i]
    together: NDArray[np.int64]  # of a run: targets that have the same sources
    begun: NDArray[np.int64]  # whether its targets have received something before
    bundles: NDArray[np.int64]  # [runs + 1], its bundles
    first_offsets: NDArray[np.int64]  # where its offsets begin
    first_weights: NDArray[np.int64]  # and its weights
    places: NDArray[np.int32]  # [bundles + AHEAD, APART], where pieces receive, from where the first does
    stops: NDArray[np.int32]  # [bundles + 1], its edges
    offsets: NDArray[np.int32]  # of an edge, for each piece of its bundle
    weights: NDArray[np.float32]  # of an edge, for each piece and target


@dataclasses.dataclass(frozen=True)
class Share:
    """What a thread streams in a phase: targets in groups of the same sources."""

    leaders: Ints  # [G], the first target of each group
    sizes: Ints  # [G], targets of each
    pick: Pick
    size: int  # floats from what a target receives to what the next one does
    vectors: int  # of pixels at a time

    @classmethod
    def of(cls, pick: Pick, alike: Ints, span: tuple[int, int], size: int, vectors: int) -> Share:
        """Group the targets first..last, which are the span."""
        first, last = span
        leaders, sizes, most = [], [], TOGETHER if vectors == STREAMED else 1
        while first < last:
            leaders.append(first)
            sizes.append(min(int(alike[first]), last - first, most))
            first += sizes[-1]
        return cls(np.array(leaders, np.int64), np.array(sizes, np.int64), pick, size, vectors)


def streams(shares: list[Share | None]) -> Streams:
    """Lay out what threads stream, in the order of phases and threads; None where they don't."""
    parts = [_runs(share) if share is not None and len(share.leaders) else [] for share in shares]
    runs = [run for part in parts for run in part]
    empty = np.zeros(0, np.int64)

    def joined(name: str) -> Ints:
        return np.concatenate([empty, *(getattr(run, name) for run in runs)])

    counts, places = joined("counts"), joined("places")
    return Streams(
        np.cumsum([0, *(len(part) for part in parts)]),
        np.array([run.together for run in runs], np.int64),
        np.array([run.begun for run in runs], np.int64),
        np.cumsum([0, *(len(run.counts) for run in runs)]),
        np.cumsum([0, *(len(run.offsets) for run in runs)]),
        np.cumsum([0, *(len(run.weights) for run in runs)]),
        np.pad(places, (0, AHEAD * APART)).astype(np.int32),
        np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        joined("offsets").astype(np.int32),
        joined("weights").astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class _Run:
    """Pieces of one part with as many targets each."""

    together: int
    begun: bool
    places: Ints  # [bundles * APART]
    counts: Ints  # of edges, of each bundle
    offsets: Ints
    weights: NDArray[np.float32]


def _runs(share: Share) -> list[_Run]:
    pick = share.pick
    starts = np.concatenate(([0], np.cumsum(pick.counts)))
    counts = pick.counts[share.leaders]
    groups = np.repeat(np.arange(len(counts)), counts)
    edges = _ranges(counts) + starts[share.leaders][groups]
    sources, order = np.unique(pick.offsets[edges], return_inverse=True)
    parts = _parts(len(sources), float(counts.mean()), share.vectors)
    part = order * parts // max(len(sources), 1)
    runs = []
    for at in range(parts):
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
            bundled = _bundled(places, found[pieces], pick.offsets[edges[chosen]], weights)
            runs.append(_Run(together, at > 0, *bundled))
    return runs


def _parts(sources: int, edges: float, vectors: int) -> int:
    """Return in how many parts to take so many sources of targets that have so many edges."""
    parts = -(-sources * 4 * vectors * LANES // _PART)
    if LANES == 8 or vectors == ALONE:
        parts = min(parts, int(edges // _FEWEST))
    return max(parts, 1)


def _bundled(
    places: Ints, counts: Ints, offsets: Ints, weights: NDArray[np.float32]
) -> tuple[Ints, Ints, Ints, NDArray[np.float32]]:
    """Put pieces into bundles: their places, numbers of edges, offsets and weights [edges, together].

    What lacks in the last bundle is the last piece once more: it then writes twice what it receives.
    """
    together = weights.shape[1]
    apart = APART if together == 1 else 1
    bundles = -(-len(places) // apart)
    members = np.minimum(np.arange(bundles * apart), len(places) - 1)
    most = counts[members].reshape(bundles, apart).max(1)
    starts, begins = np.cumsum(counts) - counts, np.cumsum(most) - most
    edge_of = _ranges(counts[members])
    member = np.repeat(np.arange(len(members)), counts[members])
    row, column = begins[member // apart] + edge_of, member % apart
    edge = starts[members][member] + edge_of
    longest = np.repeat(members[apart - 1 :: apart], most)  # pieces are in the order of their edges
    all_offsets = np.repeat(offsets[starts[longest]][:, None], apart, 1)
    all_offsets[row, column] = offsets[edge]
    all_weights = np.zeros((len(all_offsets), apart, together), np.float32)
    all_weights[row, column] = weights[edge]
    all_places = np.zeros((bundles, APART), np.int64)
    all_places[:, :apart] = places[members].reshape(bundles, apart)
    return all_places.ravel(), most, all_offsets.ravel(), all_weights.ravel()


def _ranges(counts: Ints) -> Ints:
    """Return 0, 1, ... up to each count, one after the other."""
    numbers: Ints = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers
