"""Instructions for maps of 16 bits a pixel: a word holds one pixel of a vector, and one of the next vector.

The upper half of a word is the first pixel in bfloat16, the lower half the second one. So a line of the
cache that is read serves twice as many multiply-adds, for one shift: the second pixel's. The whole word is
taken for the first pixel, without a mask; its upper half is chosen so that this is as near as rounding comes.

Neither a word nor its product with a weight may be a denormal number, which takes the CPU much longer: where
the first pixel is zero, or nearly, it becomes 2^-100.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from dnw.engines.native.vector import (
    LANES,
    TOGETHER,
    Reading,
    adder,
    data_of,
    integer,
    intrinsic,
    vector_at,
)

PAIR = 2 * LANES  # pixels in a vector of words
# Vectors of words at a time, where 1, 2, 3, 4 targets have the same sources: with 256 bits as measured
MOST_PAIRS = (4, 3, 2, 1) if LANES == 8 else (7, 6, 4, 3)
AHEAD = 12  # edges: so much earlier, sources are fetched from the level-2 cache

_LEAST = 0x0D800000  # the bits of 2^-100
_HALF = 0x8000  # of what the lower half can hold
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def packed(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return flat pixels in words, the last vector of which is filled up with zeros."""
    bits = np.pad(pixels, (0, -len(pixels) % PAIR)).view(np.uint32).astype(np.int64).reshape(-1, 2, LANES)
    lower = (bits[:, 1] + _HALF) >> 16
    size, sign = bits[:, 0] & 0x7FFFFFFF, bits[:, 0] & 0x80000000
    upper = (np.maximum(size, _LEAST) - lower + _HALF) & 0x7FFF0000
    words: NDArray[np.float32] = (sign | upper | lower).astype(np.uint32).view(np.float32)
    return words.ravel()


def _both(builder: ir.IRBuilder, words: ir.Value) -> list[ir.Value]:
    """Return the two vectors of pixels that are in a vector of words, taken as floats."""
    lower = builder.shl(builder.bitcast(words, _WORDS), _same(16))
    return [words, builder.bitcast(lower, _VECTOR)]


def _unpacked(builder: ir.IRBuilder, place: ir.Value, vectors: int) -> list[ir.Value]:
    read = [builder.load(vector_at(builder, place, at), align=4) for at in range(vectors)]
    return [pixels for words in read for pixels in _both(builder, words)]


add_pairs, add_pairs_2, add_pairs_3, add_pairs_4 = (
    adder(targets, Reading(_unpacked, 2, MOST_PAIRS[targets - 1], AHEAD))
    for targets in range(1, TOGETHER + 1)
)


@intrinsic
def pack(typingctx: Any, vectors: Any, maps: Any, source: Any, place: Any) -> Any:
    """Bring the pixels of maps[source:] to `vectors` of words at maps[place:]."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vectors, maps, source, place = arguments
        data = data_of(context, builder, signature.args[1], maps)
        read, write = builder.gep(data, [source]), builder.gep(data, [place])
        with cgutils.for_range(builder, vectors) as loop:
            start = builder.gep(read, [builder.mul(loop.index, integer(PAIR))])
            first, second = (builder.load(vector_at(builder, start, at), align=4) for at in range(2))
            words = builder.gep(write, [builder.mul(loop.index, integer(LANES))])
            builder.store(_word(builder, first, second), vector_at(builder, words, 0), align=4)
        return context.get_dummy_value()

    return types.void(vectors, maps, source, place), emit


@intrinsic
def unpack(typingctx: Any, maps: Any, source: Any, place: Any) -> Any:
    """Bring the pixels of one vector of words, maps[source:], to maps[place:]."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        maps, source, place = arguments
        data = data_of(context, builder, signature.args[0], maps)
        for at, pixels in enumerate(_unpacked(builder, builder.gep(data, [source]), 1)):
            builder.store(pixels, vector_at(builder, builder.gep(data, [place]), at), align=4)
        return context.get_dummy_value()

    return types.void(maps, source, place), emit


def _word(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    """Return two vectors of pixels in one of words, as `packed` does."""
    first, second = (builder.bitcast(pixels, _WORDS) for pixels in (first, second))
    lower = builder.lshr(builder.add(second, _same(_HALF)), _same(16))
    size, sign = builder.and_(first, _same(0x7FFFFFFF)), builder.and_(first, _same(0x80000000))
    size = builder.select(builder.icmp_signed(">", size, _same(_LEAST)), size, _same(_LEAST))
    upper = builder.and_(builder.add(builder.sub(size, lower), _same(_HALF)), _same(0x7FFF0000))
    return builder.bitcast(builder.or_(builder.or_(sign, upper), lower), _VECTOR)


def _same(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value] * LANES)
