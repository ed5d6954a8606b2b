"""The network as one compiled function: every thread of a team runs it and takes its share of each phase.

Maps lie flat: rows of `pitch` = side + 1 pixels, of which the last one is zero. It serves as the right border
of its row and as the left one of the next, so sums and filters run over whole maps without a branch. The same
loop (`add_up`) is the first convolution (27 taps), the edges, and the 3x3 filters (9 taps).

A phase takes a layer of nodes from what their sources have given out to what they give out themselves:
sums, rectified as they are written, then filters, a few targets at a time, so that what they receive is
filtered while it is in the level-1 cache. It goes down large maps in strips. Neighbouring targets that read
the same, as those of the first convolution and of a wiring with blocks, are summed up together: each source
is read once for them. As sums are written, what isn't a pixel is made zero by bits that are kept for each
map: to write single zeros behind the vectors would let the filters, which read across both, wait for them.
Around whole maps nothing else is ever written, so there it stays zero.
"""

from __future__ import annotations

import inspect
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnw.engines.native import filter_vector, options, pairs, stream_vector, summing, vector
from dnw.engines.native.filter_vector import filter_by_two, filter_flat
from dnw.engines.native.kept_on_disk import kept
from dnw.engines.native.options import compiled
from dnw.engines.native.pairs import PAIR, pack, unpack
from dnw.engines.native.stream_vector import (
    ALONE,
    finish,
    stream,
    stream_2,
    stream_3,
    stream_4,
    stream_alone,
)
from dnw.engines.native.summing import MINUS_INFINITY, sums, sums_of_pairs
from dnw.engines.native.vector import LANES, halve, move, total_of

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_ZERO = np.float32(0)
_TAPS = 9


def _entry(version: int) -> Any:
    """Make the function that is kept compiled on disk, under the time of this file and `version`."""

    @kept
    def run(
        images: Any,
        turns: tuple[int, int, int],
        features: Floats,
        maps: Floats,
        planes: Any,
        phases: NDArray[np.void],
        steps: NDArray[np.void],
        targets: Any,
        edges: Any,
        team: Any,
        rank: int,
        counter: Ints,
    ) -> int:
        """Map images to features [B, N], as thread `rank` of a team.

        `turns` are the first image, the one not to be reached, and the step from image to image.
        `maps` is the team's workspace, counter[0] is 0 as they begin; the rest is a plan's. Returns the
        version of the instructions that it was compiled with.
        """
        shares, size = team.shares, team.shares.shape[1] - 1
        meetings = 0
        for image in range(turns[0], turns[1], turns[2]):
            for channel in range(rank, 3, size):
                _lay_out(images, image, channel, maps, planes)
            meetings = _meet(counter, size, meetings)
            for at in range(len(steps)):
                step = steps[at]
                first, last = shares[step.phase, rank], shares[step.phase, rank + 1]
                phase = phases[step.phase]
                if phase.streams:
                    at_runs = step.phase * size + rank
                    runs = team.streams.runs[at_runs], team.streams.runs[at_runs + 1]
                    if not phase.is_whole:
                        _begin(maps, phase, step, first, last, _received_at(phase, first))
                    _stream(maps, phase, step, team.streams, runs)
                    _finish(maps, phase, step, targets, first, last, rank, features[image])
                else:
                    _take(maps, phase, step, targets, edges, first, last, rank, features[image])
                meetings = _meet(counter, size, meetings)
        return version

    return run


@compiled
def _meet(counter: Ints, team: int, meetings: int) -> int:
    """Wait until the whole team has come here; returns the number of meetings so far."""
    if team > 1:
        vector.arrive(counter)
        while vector.arrived(counter) < (meetings + 1) * team:
            vector.give_way()
    return meetings + 1


@compiled
def _lay_out(images: Any, image: int, channel: int, maps: Floats, planes: Any) -> None:
    """Copy every stride-th pixel of every stride-th row to a plane of its own, stride * stride of them."""
    stride, step = planes.stride, planes.stride * images.right
    vectors = images.side // (2 * LANES) if stride == 2 and images.right == 1 else 0
    for row in range(images.side):
        begin = image * images.next + channel * images.channel + row * images.down
        first = planes.at + (channel * stride + row % stride) * stride * planes.size
        place = first + (row // stride) * planes.pitch
        halve(vectors, images.pixels, begin, maps, place, place + planes.size)
        for column in range(stride):
            for x in range(vectors * LANES, (images.side - column + stride - 1) // stride):
                maps[place + column * planes.size + x] = images.pixels[
                    begin + column * images.right + x * step
                ]


@compiled
def _take(
    maps: Floats,
    phase: Any,
    step: Any,
    targets: Any,
    edges: Any,
    first: int,
    last: int,
    rank: int,
    features: Floats,
) -> None:
    """Take the targets first..last through one strip of a phase."""
    start = first
    while start < last:
        stop = start + min(targets.alike[start], last - start)
        while stop < last and stop + targets.alike[stop] <= start + phase.group:
            stop += min(targets.alike[stop], last - stop)
        place = phase.received_at + rank * phase.group * phase.received_size
        if not phase.is_whole:
            _begin(maps, phase, step, start, stop, place)
        if phase.reads_pairs:
            sums_of_pairs(maps, phase, step, targets, edges, start, stop, place - step.lag)
        else:
            sums(maps, phase, step, targets, edges, start, stop, place - step.lag)
        if step.bottom < phase.side:
            _leave(maps, phase, step, start, stop, place)
        _give(maps, phase, step, targets, start, stop, place - step.lag, rank, features)
        start = stop


@compiled
def _stream(maps: Floats, phase: Any, step: Any, streams: Any, runs: tuple[int, int]) -> None:
    """Add up what targets receive, but for bias, of a strip a few pixels at a time."""
    place, size = phase.received_at - step.lag, phase.received_size
    for pixel in range(step.begun, step.done, phase.streams * LANES):
        for at in range(runs[0], runs[1]):
            together = streams.together[at]
            bundles = (
                streams.begun[at],
                streams.bundles[at],
                streams.bundles[at + 1],
                streams.places,
                streams.stops,
            )
            edges = (
                streams.offsets,
                streams.first_offsets[at],
                streams.weights,
                streams.first_weights[at],
            )
            if phase.streams == ALONE:
                stream_alone(maps, *bundles, *edges, pixel, place, size)
            elif together == 1:
                stream(maps, *bundles, *edges, pixel, place, size)
            elif together == 2:
                stream_2(maps, *bundles, *edges, pixel, place, size)
            elif together == 3:
                stream_3(maps, *bundles, *edges, pixel, place, size)
            else:
                stream_4(maps, *bundles, *edges, pixel, place, size)


@compiled
def _finish(
    maps: Floats, phase: Any, step: Any, targets: Any, first: int, last: int, rank: int, features: Floats
) -> None:
    """Bring the sums of the targets first..last to what these targets give out."""
    floor = _ZERO if phase.rectified else MINUS_INFINITY
    wide = phase.streams * LANES
    vectors = (step.done - step.begun + wide - 1) // wide * phase.streams
    for target in range(first, last):
        place = _received_at(phase, target)
        sums = place + step.begun - step.lag
        finish(vectors, maps, sums, targets.biases[target], floor, phase.kept_at + step.begun)
        if step.bottom < phase.side:
            _leave(maps, phase, step, target, target + 1, place)
        _give(maps, phase, step, targets, target, target + 1, place - step.lag, rank, features)


@compiled
def _received_at(phase: Any, target: int) -> int:
    """Return where a target's strip lies, where all targets of a phase have one."""
    return int(phase.received_at + (target - phase.target) * phase.received_size)


@compiled
def _give(
    maps: Floats,
    phase: Any,
    step: Any,
    targets: Any,
    first: int,
    last: int,
    place: int,
    rank: int,
    features: Floats,
) -> None:
    """Bring what the targets first..last have received, the first one at `place`, to what they give out."""
    size = phase.received_size
    for target in range(first, last):
        received = place + (target - first) * size
        if phase.normed:
            _normalize(maps, phase, targets.norms[target], received)
        if phase.is_last:
            features[target - phase.target] = _mean(maps, phase, received)
        elif not phase.gives_pairs:
            given = phase.given_at + (target - phase.target) * phase.given_size
            rows = given + step.top * (phase.side + 1)
            _filter(maps, phase, step, targets.filters, target, received, rows)
    if phase.gives_pairs:
        scratch = phase.scratch_at + 2 * rank * phase.scratch_size
        _filter_to_pairs(maps, phase, step, targets.filters, first, last, place, scratch)


@compiled
def _begin(maps: Floats, phase: Any, step: Any, first: int, last: int, place: int) -> None:
    """Give strips what the ones before have left; for the first ones that is a border of zeros."""
    border, end = phase.received_pitch + 1, phase.received_side * phase.received_pitch
    for target in range(first, last):
        start = place + (target - first) * phase.received_size
        if step.top == 0:
            maps[start - border : start] = _ZERO
        else:
            vectors = (step.begun - step.lag + border + LANES - 1) // LANES  # too much will be summed up
            seam = phase.seams_at + (target - phase.target) * phase.seam_size
            move(vectors, maps, seam, start - border)
        if step.done >= end:
            maps[start + end - step.lag : start + end - step.lag + border] = _ZERO


@compiled
def _leave(maps: Floats, phase: Any, step: Any, first: int, last: int, place: int) -> None:
    """Keep of strips what the next ones read: from the row above them on."""
    border, begin = phase.received_pitch + 1, step.bottom * phase.stride * phase.received_pitch
    vectors = (step.done - begin + border + LANES - 1) // LANES
    for target in range(first, last):
        start = place + (target - first) * phase.received_size + begin - step.lag - border
        move(vectors, maps, start, phase.seams_at + (target - phase.target) * phase.seam_size)


@compiled
def _filter_to_pairs(
    maps: Floats,
    phase: Any,
    step: Any,
    filters: Floats,
    first: int,
    last: int,
    received: int,
    scratch: int,
) -> None:
    """Filter strips to one of two scratches, and bring them to words from there while the other is written.

    A CPU waits if it reads at once what was written by other vectors. The first word may have pixels of the
    strip before.
    """
    width = phase.side + 1
    begin, end = step.top * width // PAIR * PAIR, step.bottom * width
    words = (end - begin + PAIR - 1) // PAIR
    for target in range(first, last + 1):
        given = phase.given_at + (target - phase.target) * phase.given_size + begin // 2
        if target < last:
            place = scratch + target % 2 * phase.scratch_size
            if begin < step.top * width:
                unpack(maps, given, place)
            source = received + (target - first) * phase.received_size
            _filter(maps, phase, step, filters, target, source, place + step.top * width - begin)
        if target > first:
            before = scratch + (target - 1) % 2 * phase.scratch_size
            pack(words, maps, before, given - phase.given_size)


@compiled
def _filter(
    maps: Floats, phase: Any, step: Any, filters: Floats, target: int, received: int, place: int
) -> None:
    """Filter the rows of a strip to maps[place:]."""
    pitch, width, rows = phase.received_pitch, phase.side + 1, step.bottom - step.top
    source = received + step.top * phase.stride * pitch
    if phase.stride == 1:
        vectors = (rows * width + LANES - 2) // LANES  # all but the last border
        filter_flat(vectors, maps, source, pitch, filters, _TAPS * target, place)
    else:
        vectors = (phase.side + LANES - 1) // LANES
        filter_by_two(rows, vectors, maps, source, pitch, filters, _TAPS * target, place, width)


@compiled
def _normalize(maps: Floats, phase: Any, norm: Floats, received: int) -> None:
    """Bring a whole map to mean 0 and variance 1, scale and shift it, rectify it."""
    side, pitch = phase.received_side, phase.received_pitch
    total = _ZERO
    for row in range(side):
        for x in range(side):
            total += maps[received + row * pitch + x]
    mean = np.float32(total / (side * side))
    squares = _ZERO
    for row in range(side):
        for x in range(side):
            squares += (maps[received + row * pitch + x] - mean) ** 2
    scale = np.float32(norm[0] / np.sqrt(squares / (side * side) + phase.epsilon))
    for row in range(side):
        for x in range(side):
            pixel = received + row * pitch + x
            maps[pixel] = max((maps[pixel] - mean) * scale + norm[1], _ZERO)


@compiled
def _mean(maps: Floats, phase: Any, received: int) -> Any:
    """Return the mean over the pixels that the head reads."""
    if phase.window == phase.received_side:  # what lies between rows and behind them is zero
        vectors = (phase.window * phase.received_pitch + LANES - 1) // LANES
        return np.float32(total_of(vectors, maps, received) / (phase.window * phase.window))
    total = _ZERO
    for row in range(phase.corner, phase.corner + phase.window):
        for x in range(phase.corner, phase.corner + phase.window):
            total += maps[received + row * phase.received_pitch + x]
    return np.float32(total / (phase.window * phase.window))


INSTRUCTIONS = zlib.crc32(
    "".join(
        inspect.getsource(module)
        for module in (vector, filter_vector, stream_vector, pairs, summing, options)
    ).encode()
)  # numba itself looks at this file alone
run = _entry(INSTRUCTIONS)
