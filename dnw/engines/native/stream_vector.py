"""Instructions for sums that stream: few pixels of few maps at a time, added to many targets.

What a target has received so far is read, edges are added to it in registers, and it is written back.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dnw.engines.native.vector import (
    LANES,
    add_product,
    data_of,
    integer,
    intrinsic,
    masked,
    splat,
    vector_at,
)

STREAMED = 2  # vectors of each map at a time: with four targets they fill eight registers
AHEAD = 4  # pieces: so much earlier, what a piece adds to is fetched from the level-2 cache

_FLOAT = ir.FloatType()
_INT = ir.IntType(64)
_ZEROS = ir.Constant(ir.VectorType(_FLOAT, LANES), None)


def _streamer(targets: int) -> Any:
    """Make the intrinsic that adds up for so many targets with the same sources at a time."""

    @intrinsic
    def stream(
        typingctx: Any,
        maps: Any,
        begun: Any,
        first: Any,
        last: Any,
        places: Any,
        stops: Any,
        offsets: Any,
        weights: Any,
        weight: Any,
        pixel: Any,
        received: Any,
        size: Any,
    ) -> Any:
        """Add the edges of the pieces first..last to what their targets have received.

        Piece p adds the edges stops[p]..stops[p + 1] to maps[received + places[p] + pixel:], STREAMED
        vectors, and to the targets that follow at distances of `size`. An edge has one offset and a weight
        for each target; those of the first edge begin at weights[weight]. Where nothing has `begun`, sums
        begin from zero.
        """

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _write_stream(context, builder, signature.args, arguments, targets)
            return context.get_dummy_value()

        kinds = maps, begun, first, last, places, stops, offsets, weights, weight, pixel, received, size
        return types.void(*kinds), emit

    return stream


def _write_stream(context: Any, builder: ir.IRBuilder, kinds: Any, arguments: Any, targets: int) -> None:
    """Emit what `_streamer` says, for arguments of these kinds."""
    maps, begun, first, last, places, stops, offsets, weights, weight, pixel, received, size = arguments
    source = builder.gep(data_of(context, builder, kinds[0], maps), [pixel])
    places, stops, offsets, weights = (
        data_of(context, builder, kinds[at], array)
        for at, array in ((4, places), (5, stops), (6, offsets), (7, weights))
    )
    pieces = first, last, places, stops, builder.gep(source, [received]), size
    edges = offsets, builder.gep(weights, [weight]), source
    with builder.if_else(builder.icmp_signed("!=", begun, integer(0))) as (then, otherwise):
        with then:
            _pieces(builder, pieces, edges, targets, begun=True)
        with otherwise:
            _pieces(builder, pieces, edges, targets, begun=False)


def _pieces(builder: ir.IRBuilder, pieces: Any, edges: Any, targets: int, *, begun: bool) -> None:
    """Emit the loop over pieces."""
    first, last, places, stops, target, size = pieces
    before = builder.block
    base = builder.sext(builder.load(builder.gep(stops, [first])), _INT)
    head, body, end = (builder.append_basic_block(name) for name in ("pieces", "piece", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    piece, edge = builder.phi(_INT), builder.phi(_INT)
    piece.add_incoming(first, before)
    edge.add_incoming(base, before)
    builder.cbranch(builder.icmp_signed("<", piece, last), body, end)
    builder.position_at_end(body)
    place = builder.gep(target, [builder.sext(builder.load(builder.gep(places, [piece])), _INT)])
    following = builder.add(piece, integer(1))
    stop = builder.sext(builder.load(builder.gep(stops, [following])), _INT)
    pixels = [
        vector_at(builder, builder.gep(place, [builder.mul(size, integer(at))]), part)
        for at in range(targets)
        for part in range(STREAMED)
    ]
    _fetch(
        builder,
        builder.gep(
            target,
            [builder.sext(builder.load(builder.gep(places, [builder.add(piece, integer(AHEAD))])), _INT)],
        ),
        size,
        targets,
    )
    started = [builder.load(pixel, align=4) if begun else _ZEROS for pixel in pixels]
    for pixel, total in zip(pixels, _summed(builder, edge, stop, base, edges, started), strict=True):
        builder.store(total, pixel, align=4)
    piece.add_incoming(following, builder.block)
    edge.add_incoming(stop, builder.block)
    builder.branch(head)
    builder.position_at_end(end)


def _fetch(builder: ir.IRBuilder, place: ir.Value, size: ir.Value, targets: int) -> None:
    """Emit a hint that what some targets have received will be read and written."""
    byte = ir.IntType(8).as_pointer()
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
    for_writing, in_all_levels, data = (ir.Constant(number, value) for value in (0, 3, 1))
    for at in range(targets):
        start = builder.gep(place, [builder.mul(size, integer(at))])
        for part in range(STREAMED):
            line = builder.bitcast(vector_at(builder, start, part), byte)
            builder.call(fetch, [line, for_writing, in_all_levels, data])


def _summed(
    builder: ir.IRBuilder, edge: ir.Value, stop: ir.Value, base: ir.Value, edges: Any, started: list[ir.Value]
) -> list[ir.Value]:
    """Emit the loop over the edges of a piece; return the sums, which begin as `started`."""
    offsets, weights, source = edges
    before = builder.block
    body, done = builder.append_basic_block("edge"), builder.append_basic_block("summed")
    builder.cbranch(builder.icmp_signed("<", edge, stop), body, done)
    builder.position_at_end(body)
    at = builder.phi(_INT)
    at.add_incoming(edge, before)
    sums = [builder.phi(_ZEROS.type) for _ in started]
    read = builder.gep(source, [builder.sext(builder.load(builder.gep(offsets, [at])), _INT)])
    values = [builder.load(vector_at(builder, read, part), align=4) for part in range(STREAMED)]
    targets = len(started) // STREAMED
    own = builder.gep(weights, [builder.mul(builder.sub(at, base), integer(targets))])
    factors = [
        splat(builder, builder.load(builder.gep(own, [integer(target)])))
        for target in range(targets)
        for _ in values
    ]
    added = [
        add_product(builder, total, factor, value)
        for total, factor, value in zip(sums, factors, values * targets, strict=True)
    ]
    after = builder.add(at, integer(1))
    at.add_incoming(after, body)
    builder.cbranch(builder.icmp_signed("<", after, stop), body, done)
    builder.position_at_end(done)
    results = [builder.phi(_ZEROS.type) for _ in started]
    for result, total, start, value in zip(results, sums, started, added, strict=True):
        total.add_incoming(start, before)
        total.add_incoming(value, body)
        result.add_incoming(start, before)
        result.add_incoming(value, body)
    return results


stream, stream_2, stream_3, stream_4 = (_streamer(targets) for targets in range(1, 5))


@intrinsic
def finish(typingctx: Any, vectors: Any, maps: Any, place: Any, bias: Any, floor: Any, kept: Any) -> Any:
    """Add `bias` to so many vectors of maps[place:]; the rest as in add_up."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vectors, maps, place, bias, floor, kept = arguments
        data = data_of(context, builder, signature.args[1], maps)
        target, masks = builder.gep(data, [place]), builder.gep(data, [kept])
        bias, lowest = splat(builder, bias), splat(builder, floor)
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.mul(loop.index, integer(LANES))
            pixels = vector_at(builder, builder.gep(target, [at]), 0)
            total = builder.fadd(builder.load(pixels, align=4), bias)
            larger = builder.select(builder.fcmp_ordered(">", total, lowest), total, lowest)
            bits = builder.load(vector_at(builder, builder.gep(masks, [at]), 0), align=4)
            builder.store(masked(builder, larger, bits), pixels, align=4)
        return context.get_dummy_value()

    return types.void(vectors, maps, place, bias, floor, kept), emit
