"""Where everything lies in the native engine's memory, and in what order it is computed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnw.compact.form import Arrays, Compact, CompactBlock, CompactNodes
from dnw.engines.native.memory import EDGES, Given, Memory, Pick, Planes, Received, zeros
from dnw.engines.native.pairs import AHEAD, PAIR
from dnw.engines.native.schedule import schedule
from dnw.engines.native.stream_vector import WIDEST
from dnw.engines.native.streams import Share, Streams, streams
from dnw.engines.native.vector import LANES, TOGETHER

EDGES_OF_SHARED = 4 * EDGES  # of targets with the same sources, from which on pairs gain

PHASE = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("target", "group", "is_whole", "streams", "strip", "stride", "side"),
            *("received_at", "received_size", "received_side", "received_pitch", "kept_at"),
            *("seams_at", "seam_size"),
            *("given_at", "given_size", "reads_pairs", "gives_pairs", "scratch_at", "scratch_size"),
            *("normed", "rectified", "is_last", "corner", "window"),
        )
    ]
    + [("epsilon", np.float32)]
)


class Targets(NamedTuple):
    """What belongs to the targets of all phases, numbered through."""

    starts: NDArray[np.int64]  # [T + 1], into the edges
    alike: NDArray[np.int64]  # [T], how many from each on have the same sources as it, up to TOGETHER
    biases: NDArray[np.float32]  # [T]
    filters: NDArray[np.float32]  # [T * 9]; those of the last phase have none
    norms: NDArray[np.float32]  # [T, 2]: scale and shift of an instance norm


class KernelEdges(NamedTuple):
    """Where the source's map lies, in floats, and how much of it the target receives."""

    offsets: NDArray[np.int32]
    weights: NDArray[np.float32]


class Team(NamedTuple):
    """What each thread of a team computes."""

    shares: NDArray[np.int64]  # [phases, threads + 1]: thread i takes the targets from [i] to [i + 1]
    streams: Streams


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """All that the compiled function is given besides images; read-only."""

    planes: Planes
    phases: NDArray[np.void]  # of PHASE
    steps: NDArray[np.void]  # of dnw.engines.native.schedule.STEP
    targets: Targets
    edges: KernelEdges
    alone: Team
    team: Team
    constants: tuple[tuple[int, NDArray[np.float32]], ...]  # what is there from the beginning
    floats: int  # of memory

    def memory(self) -> NDArray[np.float32]:
        """Return the workspace of a team."""
        maps = zeros(self.floats)
        for at, values in self.constants:
            maps[at : at + len(values)] = values
        return maps


@dataclasses.dataclass(frozen=True)
class _Stage:
    """A phase before all of them are put together."""

    phase: dict[str, float]
    received: Received
    pick: Pick
    alike: NDArray[np.int64]  # of Targets
    bias: NDArray[np.float32]
    nodes: CompactNodes[Arrays] | None

    def costs(self) -> NDArray[np.int64]:
        """Multiply-adds of each target, roughly: a filter costs as much as nine edges."""
        return self.pick.counts + 9


def plan(compact: Compact[Arrays], threads: int, *, is_paired: bool = False) -> KernelPlan:
    """Lay a network with a stem out, for teams of `threads`; with `is_paired` maps have 16 bits a pixel."""
    memory = Memory()
    planes = Planes.of(compact, memory)
    stages = _stages(compact, planes, memory, is_paired=is_paired)
    places = _received([stage.received for stage in stages], threads, memory)
    scratch = max(stage.received.scratch for stage in stages)
    scratch_at = memory.reserve(2 * threads * scratch)
    memory.reserve(WIDEST * LANES)  # vectors read past the last map
    phases = np.zeros(len(stages), PHASE)
    stops = np.cumsum([len(stage.bias) for stage in stages])
    for phase, stage, place, stop in zip(phases, stages, places, stops, strict=True):
        for name, value in (stage.phase | stage.received.phase(*place, stage.nodes)).items():
            phase[name] = value
        phase["scratch_at"], phase["scratch_size"] = scratch_at, scratch
        phase["target"] = stop - len(stage.bias)
    targets = _targets(stages)
    teams = [_team(stages, phases["target"], targets, size) for size in (1, threads)]
    parts = targets, _edges(stages), teams[0], teams[1], tuple(memory.constants)
    return KernelPlan(planes, phases, schedule(phases, PAIR if is_paired else LANES), *parts, memory.floats)


def _team(stages: list[_Stage], firsts: NDArray[np.int64], targets: Targets, threads: int) -> Team:
    """Divide the targets, which begin at `firsts`, among so many threads."""
    cuts = [_shares(stage.costs(), threads) for stage in stages]
    streamed = [
        Share.of(stage.pick, targets.alike[first:], ends, stage.received.size, stage.received.streams)
        if stage.received.streams
        else None
        for stage, first, cut in zip(stages, firsts.tolist(), cuts, strict=True)
        for ends in itertools.pairwise(cut.tolist())
    ]
    return Team(np.stack(cuts) + firsts[:, None], streams(streamed))


def _stages(compact: Compact[Arrays], planes: Planes, memory: Memory, *, is_paired: bool) -> list[_Stage]:
    assert compact.stem is not None
    paired = [is_paired and _gains(block) for block in compact.blocks]
    given = Given.all_of(compact.blocks, memory, paired)
    nodes, there = compact.blocks[0].layers[0], given[0].phase(0)
    received = Received.of(planes.side, nodes, nodes.count)
    pick = planes.pick(compact.stem)
    stages = [_Stage(there, received, pick, _alike(pick.counts, pick.offsets), compact.stem.bias, nodes)]
    for number, (block, here) in enumerate(zip(compact.blocks, given, strict=True)):
        for layer, sums in enumerate(block.sums, 1):
            following, there = _next(compact, given, number, layer)
            pick = here.pick(sums, memory)
            alike = _alike(pick.counts, pick.offsets)
            counts = sums.count, sums.columns, len(pick.weights), _groups(alike)
            received = Received.of(block.side, following, *counts, is_paired=here.is_paired)
            phase = there | {"reads_pairs": here.is_paired}
            stages.append(_Stage(phase, received, pick, alike, sums.bias, following))
    return stages


def _received(all_received: list[Received], threads: int, memory: Memory) -> list[tuple[int, int, int]]:
    """Return where phases receive, where the bits of their pixels are, and what strips leave to the next.

    Maps of the same size take the same room: strips and whole maps are filtered before the next ones, and
    phases that stream are computed one after another.
    """
    rooms: dict[Hashable, tuple[int, int]] = {}
    for received in all_received:
        key = received.room
        if key not in rooms:
            floats = max(one.floats(threads) for one in all_received if one.room == key)
            rooms[key] = memory.reserve(floats), memory.keep(received.kept())
    return [
        (*rooms[received.room], memory.reserve(received.targets * received.seam)) for received in all_received
    ]


def _next(
    compact: Compact[Arrays], given: list[Given], number: int, layer: int
) -> tuple[CompactNodes[Arrays] | None, dict[str, float]]:
    """Return the nodes that the layers before `layer` of a block feed, and where these nodes give theirs."""
    if layer == len(compact.blocks[number].layers):
        number, layer = number + 1, 0
    if number < len(given):
        return compact.blocks[number].layers[layer], given[number].phase(layer)
    head = compact.head
    return None, {"is_last": 1, "rectified": head.rectified, "corner": head.corner, "window": head.window}


def _shares(costs: NDArray[np.int64], threads: int) -> NDArray[np.int64]:
    """Cut targets where the running cost comes nearest to equal shares."""
    running = np.concatenate(([0], np.cumsum(costs)))
    wanted = running[-1] * np.arange(threads + 1) / threads
    cuts: NDArray[np.int64] = np.searchsorted(running, wanted).astype(np.int64)
    return cuts


def _edges(stages: list[_Stage]) -> KernelEdges:
    offsets = np.concatenate([stage.pick.offsets for stage in stages])
    assert offsets.max() < 2**31
    padded = np.pad(offsets.astype(np.int32), (0, AHEAD))
    return KernelEdges(padded, np.concatenate([stage.pick.weights for stage in stages]))


def _targets(stages: list[_Stage]) -> Targets:
    counts = np.concatenate([stage.pick.counts for stage in stages])
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    biases = np.concatenate([stage.bias for stage in stages])
    filters = np.zeros((len(biases), 9), np.float32)
    norms = np.zeros((len(biases), 2), np.float32)
    stop = 0
    for stage in stages:
        start, stop = stop, stop + len(stage.bias)
        if stage.nodes is not None:
            filters[start:stop] = stage.nodes.filters.reshape(-1, 9)
            if stage.nodes.norm is not None:
                norms[start:stop] = np.stack((stage.nodes.norm.scale, stage.nodes.norm.shift), 1)
    alike = np.concatenate([stage.alike for stage in stages])
    return Targets(starts, alike, biases, filters.ravel(), norms)


def _gains(block: CompactBlock[Arrays]) -> bool:
    """Whether sums of a block have so many edges that they are faster where pixels lie in pairs."""
    alike = [_alike(np.diff(sums.starts), sums.sources) for sums in block.sums]
    targets, groups = sum(sums.count for sums in block.sums), sum(map(_groups, alike))
    fewest = EDGES if 2 * groups > targets else EDGES_OF_SHARED
    return sum(len(sums.sources) for sums in block.sums) >= fewest * targets


def _alike(counts: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.int64]:
    """Count from each target on how many have the same sources as it, up to TOGETHER."""
    sources = np.split(edges, np.cumsum(counts)[:-1])
    alike = np.ones(len(sources), np.int64)
    for target in range(len(sources) - 2, -1, -1):
        if np.array_equal(sources[target], sources[target + 1]):
            alike[target] = alike[target + 1] + 1
    capped: NDArray[np.int64] = np.minimum(alike, TOGETHER)
    return capped


def _groups(alike: NDArray[np.int64]) -> int:
    """Return how many groups of neighbours with the same sources there are."""
    groups, target = 0, 0
    while target < len(alike):
        target += int(alike[target])
        groups += 1
    return groups
