"""What the native engine's workspace holds: images, what nodes receive, and what they give out.

A map of side x side pixels lies flat, in rows of side + 1 pixels, as dnw/engines/native/kernel.py explains.
"""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnw.compact.form import Arrays, Compact, CompactBlock, CompactNodes, Stem, Sums
from dnw.engines.native.caches import level_2
from dnw.engines.native.pairs import PAIR, packed
from dnw.engines.native.stream_vector import ALONE, STREAMED, WIDEST
from dnw.engines.native.vector import LANES, LINE

_HUGE_PAGE = 2 << 20  # bytes, of x86-64 and most of ARM
_STRIP = 16  # rows; as many as lanes, or a multiple, so that strips begin where vectors do
_HOLDS_LARGE = 2 << 20  # bytes of a level-2 cache that holds the maps of 56x56 of a block, or most of them
_SMALL_SIDE = 56 if level_2() >= _HOLDS_LARGE else 28  # maps up to this are one strip
_IN_CACHE = 1 << 15  # floats of maps that stay in the level-2 cache, with what else is there
_DENSE = 1 / 15  # edges of those that are possible: with fewer, a target has too few in a part
EDGES = 8  # of a target, from which on those with sources of their own gain
_GROUP = 4  # targets whose strips stay in the level-1 cache
_PAIRED_GROUP = 128  # of words: targets that read the same columns of pixels, which the level-2 cache holds


class Memory:
    """What is taken of a workspace, and what it holds from the beginning (elsewhere zeros)."""

    def __init__(self) -> None:
        self.floats = 0
        self.constants: list[tuple[int, NDArray[np.float32]]] = []

    def keep(self, values: NDArray[np.float32]) -> int:
        """Return where `values` lie from the beginning."""
        at = self.reserve(len(values))
        self.constants.append((at, values))
        return at

    def reserve(self, floats: int) -> int:
        """Return where so many floats lie, which is the beginning of a cache line."""
        at = self.floats
        self.floats += in_lines(floats)
        return at


@dataclasses.dataclass(frozen=True)
class Pick:
    """What targets receive from maps in memory."""

    counts: NDArray[np.int64]  # [T], edges of each target
    offsets: NDArray[np.int64]  # [E]
    weights: NDArray[np.float32]  # [E]


class Planes(NamedTuple):
    """The image as 3 * stride * stride planes: every stride-th pixel of every stride-th row is one."""

    stride: int
    side: int  # of what the first nodes receive
    pitch: int
    size: int  # from plane to plane
    at: int  # the first pixel of the first plane

    @classmethod
    def of(cls, compact: Compact[Arrays], memory: Memory) -> Planes:
        """Take room for an image with a border of zeros."""
        assert compact.stem is not None
        stride = compact.stem.stride
        side = -(-compact.image_size // stride)
        pitch = side + 1
        above = in_lines(pitch + 1)
        size = in_lines(above + (side + 1) * pitch + LANES)
        return cls(stride, side, pitch, size, memory.reserve(3 * stride * stride * size) + above)

    def pick(self, stem: Stem[Arrays]) -> Pick:
        """Return the first convolution as sums over its 27 taps."""
        channels, rows, columns = np.indices((3, 3, 3)).reshape(3, -1)
        (down, row), (right, column) = (np.divmod(taps - 1, self.stride) for taps in (rows, columns))
        plane = (channels * self.stride + row) * self.stride + column
        taps = self.at + plane * self.size + down * self.pitch + right
        count = len(stem.filters)
        return Pick(np.full(count, len(taps)), np.tile(taps, count), stem.filters.ravel())


@dataclasses.dataclass(frozen=True)
class Received:
    """A strip of what the targets of a phase receive, which stays in the cache until it is filtered."""

    side: int  # of the whole map
    rows: int  # of a strip
    targets: int
    streams: int  # vectors of pixels that all targets sum up at a time, as no cache holds the sources; or 0
    group: int  # targets that are summed up before they are filtered

    @classmethod
    def of(
        cls,
        side: int,
        nodes: CompactNodes[Arrays] | None,
        targets: int,
        sources: int = 0,
        edges: int = 0,
        groups: int = 0,
        *,
        is_paired: bool = False,
    ) -> Received:
        """Choose the strip for `nodes`; an instance norm needs whole maps, and so does the head (None).

        `sources` are the maps that the targets choose theirs from, by so many edges in all; neighbouring
        targets with the same sources are one of the groups. With `is_paired` their pixels lie in pairs.
        """
        whole = nodes is None or nodes.norm is not None or side <= _SMALL_SIDE
        rows = side + side % 2 if whole else _STRIP
        group = _PAIRED_GROUP if is_paired and whole else _GROUP
        if is_paired:
            streams = 0
        elif 2 * groups > targets and (LANES == 8 or side * (side + 1) <= ALONE * LANES):
            streams = ALONE if edges >= EDGES * targets else 0
        else:
            is_large = sources * side * (side + 1) > _IN_CACHE
            streams = STREAMED if whole and is_large and edges > _DENSE * targets * sources else 0
        return cls(side, rows, targets, streams, group)

    @property
    def above(self) -> int:
        """Floats before the first pixel: the row above the strip, and one pixel before that."""
        return in_lines(self.side + 2)

    @property
    def size(self) -> int:
        """From target to target: a strip, a row above and two below, what vectors write and read past it."""
        return _odd_lines(self.above + (self.rows + 2) * (self.side + 1) + (WIDEST + 2) * LANES)

    def floats(self, threads: int) -> int:
        """Of what is filtered at once, a group for each thread; of all targets where sums stream."""
        return (self.targets if self.streams else threads * self.group) * self.size

    @property
    def scratch(self) -> int:
        """Floats that a strip takes when it is filtered, with what vectors write past it and before it."""
        return in_lines((self.rows + 1) * (self.side + 1) + 2 * PAIR)

    @property
    def seam(self) -> int:
        """Floats that a strip leaves to the next one: two rows, a pixel, and what vectors go beyond."""
        return 0 if self.is_whole else _odd_lines(2 * (self.side + 1) + 1 + LANES + PAIR)

    @property
    def is_whole(self) -> bool:
        """Whether one strip is all there is."""
        return self.rows >= self.side

    @property
    def room(self) -> Hashable:
        """What phases have in common that can receive in the same place."""
        return self.side, self.is_whole, self.streams, self.group

    def kept(self) -> NDArray[np.float32]:
        """Return all bits set for each pixel of the map, none for what lies between rows and below."""
        bits = np.zeros((self.side, self.side + 1), np.int32)
        bits[:, :-1] = -1
        return np.pad(bits.ravel(), (0, WIDEST * LANES)).view(np.float32)

    def phase(
        self, at: int, kept_at: int, seams_at: int, nodes: CompactNodes[Arrays] | None
    ) -> dict[str, float]:
        """Return what a phase has to know of it; `at` is where the room for all of it lies."""
        stride = nodes.stride if nodes else 1
        found: dict[str, float] = {
            **{"received_at": at + self.above, "received_size": self.size, "kept_at": kept_at},
            **{"seams_at": seams_at, "seam_size": self.seam},
            **{"received_side": self.side, "received_pitch": self.side + 1},
            **{"stride": stride, "side": -(-self.side // stride), "strip": self.rows // stride},
            **{"group": self.group, "is_whole": self.is_whole, "streams": self.streams},
        }
        if nodes is None:
            return found
        return found | ({"normed": 1, "epsilon": nodes.norm.epsilon} if nodes.norm else {"rectified": 1})


class _Room(NamedTuple):
    """What a layer takes of a workspace."""

    begin: int
    end: int
    last: int  # phase that reads it


@dataclasses.dataclass(frozen=True)
class Given:
    """What the nodes of a block give out."""

    rows: NDArray[np.int64]  # [S], where each node's map lies
    first: tuple[int, ...]  # the first node of each layer
    size: int  # from map to map
    is_paired: bool  # whether two pixels are in a word

    @classmethod
    def all_of(
        cls, blocks: Sequence[CompactBlock[Arrays]], memory: Memory, paired: Sequence[bool]
    ) -> list[Given]:
        """Take room for all nodes of each block, in words for those that are paired.

        Phases of whole maps are computed one after the other, so a layer takes the first room that layers
        have left which no later phase reads. What phases of strips give out is there from the beginning.
        """
        rooms: list[_Room] = []
        found, first, side_before = [], 1, _SMALL_SIDE + 1
        for block, in_pairs in zip(blocks, paired, strict=True):
            pixels = block.side * (block.side + 1)
            size = _odd_lines(-(-pixels // PAIR) * LANES if in_pairs else pixels + LANES)
            last = first + len(block.sums) - 1  # the phase that reads all layers
            begins = []
            for layer, nodes in enumerate(block.layers):
                is_whole = (block.side if layer else side_before) <= _SMALL_SIDE
                since = first + layer - 1 if is_whole else 0
                begins.append(_first_fit(rooms, nodes.count * size, since))
                rooms.append(_Room(begins[-1], begins[-1] + nodes.count * size, last))
            found.append((block, begins, size, in_pairs))
            first, side_before = last + 1, block.side
        begin = memory.reserve(max(room.end for room in rooms))
        return [
            cls.at([begin + place for place in begins], block, size, is_paired=in_pairs)
            for block, begins, size, in_pairs in found
        ]

    @classmethod
    def at(cls, begins: Sequence[int], block: CompactBlock[Arrays], size: int, *, is_paired: bool) -> Given:
        """Lay the nodes of a block out, each layer from a place on."""
        counts = [nodes.count for nodes in block.layers]
        rows = [begin + size * np.arange(count) for begin, count in zip(begins, counts, strict=True)]
        return cls(np.concatenate(rows), tuple(np.cumsum([0, *counts[:-1]]).tolist()), size, is_paired)

    def phase(self, layer: int) -> dict[str, float]:
        """Return what a phase has to know that applies the nodes of `layer`."""
        return {
            "given_at": int(self.rows[self.first[layer]]),
            "given_size": self.size,
            "gives_pairs": self.is_paired,
        }

    def pick(self, sums: Sums[Arrays], memory: Memory) -> Pick:
        """Return the edges, and as one more for some targets a map that is there from the beginning."""
        targets, mapped = np.repeat(np.arange(sums.count), np.diff(sums.starts)), sums.mapped
        maps = memory.reserve(len(mapped) * self.size) + self.size * np.arange(len(mapped))
        for at, pixels_HW in zip(maps.tolist(), sums.maps, strict=True):
            pixels = np.pad(pixels_HW, ((0, 0), (0, 1))).ravel()
            memory.constants.append((at, packed(pixels) if self.is_paired else pixels))
        order = np.argsort(np.concatenate((targets, mapped)), kind="stable")
        offsets = np.concatenate((self.rows[sums.sources], maps))
        weights = np.concatenate((sums.weights, np.ones(len(mapped), np.float32)))
        counts = np.bincount(targets, minlength=sums.count) + np.bincount(mapped, minlength=sums.count)
        return Pick(counts, offsets[order], weights[order])


def _first_fit(rooms: Sequence[_Room], floats: int, since: int) -> int:
    """Return the first place where so many floats are free from phase `since` on."""
    at = 0
    for room in sorted(room for room in rooms if room.last >= since):
        if room.begin - at >= floats:
            break
        at = max(at, room.end)
    return at


def zeros(floats: int) -> NDArray[np.float32]:
    """Return so many zeros from the beginning of a cache line on.

    They lie in huge pages where there are such: each is found by one look into the table of pages.
    """
    size = -(-4 * floats // _HUGE_PAGE) * _HUGE_PAGE  # a page that is begun is a huge one, too
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages = mmap.mmap(-1, size + _HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
        spare = np.frombuffer(pages, np.float32)
    else:
        spare = np.zeros((size + _HUGE_PAGE) // 4, np.float32)
    start = -spare.ctypes.data % _HUGE_PAGE // 4
    return spare[start : start + floats]


def in_huge_pages(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy as `zeros` lie: the CPU fetches ahead what follows within a page."""
    copy = zeros(values.size).reshape(values.shape)
    copy[...] = values
    return copy


def in_lines(floats: int) -> int:
    """Round up to whole cache lines."""
    return -(-floats // LINE) * LINE


def _odd_lines(floats: int) -> int:
    """Round up to an odd number of cache lines: the same pixel of many maps then lies in different sets."""
    lines = -(-floats // LINE)
    return (lines | 1) * LINE
