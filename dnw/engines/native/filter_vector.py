"""Instructions for 3x3 filters: rows of a map are read once, and shifted in registers where that is faster.

A vector of 512 bits that begins within a cache line lies in two of them, and takes twice as long to read.
Six of the nine taps do, whatever the rows begin with; so two vectors on end are read and shifted. A vector
of 256 bits crosses the end of a line half as often, and takes two instructions to shift: there all taps are
read. Where every second pixel is kept, only these are filtered; with 256 bits they stay, until they are
written, in the order in which one instruction picks them from two vectors, which is within halves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dnw.engines.native.vector import (
    LANES,
    add_product,
    cases,
    data_of,
    every_second,
    integer,
    intrinsic,
    splat,
    vector_at,
)

SHIFTED = LANES == 16  # registers of 512 bits
# Vectors at a time: with nine weights and what is read they fill 32 or 16 registers. HALVED are vectors of a
# row of which every second pixel is kept.
FILTERED, HALVED = (7, 4) if SHIFTED else (4, 2)
_HALF = LANES // 2

_VECTOR = ir.VectorType(ir.FloatType(), LANES)


@intrinsic
def filter_flat(
    typingctx: Any,
    vectors: Any,
    maps: Any,
    source: Any,
    pitch: Any,
    filters: Any,
    taps: Any,
    place: Any,
) -> Any:
    """Filter `vectors` times LANES pixels on end, borders between rows included, to maps[place:].

    There the middle of the filter, filters[taps + 4], meets maps[source]; rows are `pitch` apart.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vectors, maps, source, pitch, filters, taps, place = arguments
        data = data_of(context, builder, signature.args[1], maps)
        weights = _taps(builder, data_of(context, builder, signature.args[4], filters), taps)
        source, target = builder.gep(data, [source]), builder.gep(data, [place])

        def write(at: ir.Value, count: int) -> None:
            read, start = builder.gep(source, [at]), builder.gep(target, [at])
            for part, total in enumerate(_filtered(builder, count, read, pitch, weights)):
                builder.store(total, vector_at(builder, start, part), align=4)

        _in_parts(builder, vectors, FILTERED, write)
        return context.get_dummy_value()

    return types.void(vectors, maps, source, pitch, filters, taps, place), emit


@intrinsic
def filter_by_two(
    typingctx: Any,
    rows: Any,
    vectors: Any,
    maps: Any,
    source: Any,
    pitch: Any,
    filters: Any,
    taps: Any,
    place: Any,
    given_pitch: Any,
) -> Any:
    """Filter a map and write every second pixel of every second row to maps[place:].

    That is `rows` of `vectors` times LANES pixels, given_pitch apart. The middle of the filter,
    filters[taps + 4], meets maps[source] for the first pixel.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        rows, vectors, maps, source, pitch, filters, taps, place, given_pitch = arguments
        data = data_of(context, builder, signature.args[2], maps)
        weights = _taps(builder, data_of(context, builder, signature.args[5], filters), taps)
        source, target = builder.gep(data, [source]), builder.gep(data, [place])
        down = builder.mul(pitch, integer(2))
        with cgutils.for_range(builder, rows) as row:  # downwards: a row's last vector goes into the next one
            read = builder.gep(source, [builder.mul(row.index, down)])
            start = builder.gep(target, [builder.mul(row.index, given_pitch)])

            def write(at: ir.Value, count: int, read: ir.Value = read, start: ir.Value = start) -> None:
                pixels = builder.gep(read, [builder.mul(at, integer(2))])
                kept = _filtered_by_two(builder, count, pixels, pitch, weights)
                for part, total in enumerate(kept):
                    builder.store(total, vector_at(builder, builder.gep(start, [at]), part), align=4)

            _in_parts(builder, vectors, HALVED, write)
        return context.get_dummy_value()

    return types.void(rows, vectors, maps, source, pitch, filters, taps, place, given_pitch), emit


def _in_parts(
    builder: ir.IRBuilder, vectors: ir.Value, most: int, write: Callable[[ir.Value, int], None]
) -> None:
    """Emit write(first pixel, number of vectors) for all `vectors`, up to `most` at a time."""
    rounds = builder.sdiv(vectors, integer(most))
    with cgutils.for_range(builder, rounds) as loop:
        write(builder.mul(loop.index, integer(most * LANES)), most)
    done = builder.mul(rounds, integer(most))
    for count in cases(builder, builder.sub(vectors, done), most - 1):
        write(builder.mul(done, integer(LANES)), count)


def _taps(builder: ir.IRBuilder, filters: ir.Value, taps: ir.Value) -> list[ir.Value]:
    first = builder.gep(filters, [taps])
    return [splat(builder, builder.load(builder.gep(first, [integer(tap)]))) for tap in range(9)]


def _filtered(
    builder: ir.IRBuilder, vectors: int, source: ir.Value, pitch: ir.Value, weights: list[ir.Value]
) -> list[ir.Value]:
    """Vectors on end of what a filter makes of a map."""
    sums = [ir.Constant(_VECTOR, None)] * vectors
    for row in range(3):
        begin = builder.gep(source, [builder.sub(builder.mul(pitch, integer(row - 1)), integer(1))])
        if SHIFTED:
            read = _read(builder, begin, vectors + 1)
            pairs = list(itertools.pairwise(read))
            columns = [[_shifted(builder, *pair, by) for pair in pairs] for by in range(3)]
        else:
            columns = [_read(builder, builder.gep(begin, [integer(by)]), vectors) for by in range(3)]
        sums = _added(builder, sums, columns, weights[3 * row :])
    return sums


def _filtered_by_two(
    builder: ir.IRBuilder, vectors: int, source: ir.Value, pitch: ir.Value, weights: list[ir.Value]
) -> list[ir.Value]:
    """Vectors on end of every second pixel of what a filter makes of a map."""
    sums = [ir.Constant(_VECTOR, None)] * vectors
    for row in range(3):
        begin = builder.gep(source, [builder.sub(builder.mul(pitch, integer(row - 1)), integer(1))])
        if SHIFTED:
            read = _read(builder, begin, 2 * vectors + 1)
            left, middle = (
                [every_second(builder, read[2 * at], read[2 * at + 1], first) for at in range(vectors)]
                for first in range(2)
            )
            right = [_shifted(builder, *pair, 1) for pair in itertools.pairwise([*left, read[-1]])]
        else:
            read = _read(builder, begin, 2 * vectors)
            shifted = _read(builder, builder.gep(begin, [integer(2)]), 2 * vectors)
            left, middle = ([_picked(builder, *pair, first) for pair in _pairs(read)] for first in range(2))
            right = [_picked(builder, *pair, 0) for pair in _pairs(shifted)]
        sums = _added(builder, sums, [left, middle, right], weights[3 * row :])
    return sums if SHIFTED else [_ordered(builder, total) for total in sums]


def _pairs(vectors: list[ir.Value]) -> list[tuple[ir.Value, ir.Value]]:
    return list(zip(vectors[::2], vectors[1::2], strict=True))


def _picked(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, begin: int) -> ir.Value:
    """Return every second lane from `begin` on: of both lower halves of two vectors, then of both upper."""
    lanes = [
        vector * LANES + half + lane
        for half in (0, _HALF)
        for vector in (0, 1)
        for lane in range(begin, _HALF, 2)
    ]
    return builder.shuffle_vector(first, second, _lanes(lanes))


def _ordered(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return in their order the lanes that `_picked` gives."""
    quarter = _HALF // 2
    lanes = [part * quarter + lane for part in (0, 2, 1, 3) for lane in range(quarter)]
    return builder.shuffle_vector(value, value, _lanes(lanes))


def _lanes(lanes: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes)


def _added(
    builder: ir.IRBuilder, sums: list[ir.Value], columns: list[list[ir.Value]], weights: list[ir.Value]
) -> list[ir.Value]:
    """Add to the sums what three columns of a filter give them."""
    for values, weight in zip(columns, weights, strict=False):
        sums = [add_product(builder, total, weight, value) for total, value in zip(sums, values, strict=True)]
    return sums


def _read(builder: ir.IRBuilder, begin: ir.Value, vectors: int) -> list[ir.Value]:
    return [builder.load(vector_at(builder, begin, at), align=4) for at in range(vectors)]


def _shifted(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, by: int) -> ir.Value:
    """Return LANES lanes from lane `by` on of two vectors on end."""
    lanes = _lanes(list(range(by, by + LANES)))
    return first if by == 0 else builder.shuffle_vector(first, second, lanes)
