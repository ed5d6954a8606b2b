"""Instructions for sums that stream: few pixels of few maps at a time, added to many targets.

What targets have received so far is read, edges are added to it in registers, and it is written back. That is
done for a bundle of targets at a time, which have as many edges each: either with the same sources, each of
which is read once for them, or APART ones with sources of their own, so that a multiply-add need not wait for
the one before.
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
    fetch,
    integer,
    intrinsic,
    masked,
    splat,
    vector_at,
)

STREAMED = 2  # vectors of each map at a time: with four targets they fill eight registers
# Where targets have sources of their own, vectors at a time and targets in a bundle, as measured: 12 of 16
# registers of 256 bits. With 512 bits large maps are taken by STREAMED vectors all the same.
ALONE, APART = 4, 3
WIDEST = max(STREAMED, ALONE)
AHEAD = 4  # bundles: so much earlier, what a bundle adds to is fetched from the level-2 cache

_FLOAT = ir.FloatType()
_INT = ir.IntType(64)
_ZEROS = ir.Constant(ir.VectorType(_FLOAT, LANES), None)


def _streamer(targets: int, apart: int, vectors: int) -> Any:
    """Make the intrinsic for bundles of `apart` pieces, each of so many targets with the same sources."""

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
        offset: Any,
        weights: Any,
        weight: Any,
        pixel: Any,
        received: Any,
        size: Any,
    ) -> Any:
        """Add the edges of the bundles first..last to what their targets have received.

        Piece i of bundle b adds the edges stops[b]..stops[b + 1] to maps[received + places[b * APART + i] +
        pixel:], `vectors` of them, and to the targets that follow at distances of `size`. An edge has one
        offset for each piece and a weight for each target; those of the first edge begin at offsets[offset]
        and weights[weight]. Where nothing has `begun`, sums begin from zero.
        """

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _write_stream(context, builder, signature.args, arguments, (targets, apart, vectors))
            return context.get_dummy_value()

        bundles = maps, begun, first, last, places, stops
        return types.void(*bundles, offsets, offset, weights, weight, pixel, received, size), emit

    return stream


def _write_stream(
    context: Any, builder: ir.IRBuilder, kinds: Any, arguments: Any, shape: tuple[int, int, int]
) -> None:
    """Emit what `_streamer` says, for arguments of these kinds."""
    maps, begun, first, last, places, stops = arguments[:6]
    offsets, offset, weights, weight, pixel, received, size = arguments[6:]
    source = builder.gep(data_of(context, builder, kinds[0], maps), [pixel])
    places, stops, offsets, weights = (
        data_of(context, builder, kinds[at], array)
        for at, array in ((4, places), (5, stops), (6, offsets), (8, weights))
    )
    bundles = first, last, places, stops, builder.gep(source, [received]), size
    edges = builder.gep(offsets, [offset]), builder.gep(weights, [weight]), source
    with builder.if_else(builder.icmp_signed("!=", begun, integer(0))) as (then, otherwise):
        with then:
            _bundles(builder, bundles, edges, shape, begun=True)
        with otherwise:
            _bundles(builder, bundles, edges, shape, begun=False)


def _bundles(
    builder: ir.IRBuilder, bundles: Any, edges: Any, shape: tuple[int, int, int], *, begun: bool
) -> None:
    """Emit the loop over bundles."""
    first, last, places, stops, target, size = bundles
    targets, apart, vectors = shape
    before = builder.block
    base = builder.sext(builder.load(builder.gep(stops, [first])), _INT)
    head, body, end = (builder.append_basic_block(name) for name in ("bundles", "bundle", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    bundle, edge = builder.phi(_INT), builder.phi(_INT)
    bundle.add_incoming(first, before)
    edge.add_incoming(base, before)
    builder.cbranch(builder.icmp_signed("<", bundle, last), body, end)
    builder.position_at_end(body)

    def received(at: ir.Value) -> list[ir.Value]:
        begin = builder.gep(places, [builder.mul(at, integer(APART))])
        found = (builder.load(builder.gep(begin, [integer(piece)])) for piece in range(apart))
        leaders = [builder.gep(target, [builder.sext(place, _INT)]) for place in found]
        steps = [builder.mul(size, integer(beside)) for beside in range(targets)]
        return [builder.gep(leader, [step]) for leader in leaders for step in steps]

    following = builder.add(bundle, integer(1))
    stop = builder.sext(builder.load(builder.gep(stops, [following])), _INT)
    pixels = [vector_at(builder, place, part) for place in received(bundle) for part in range(vectors)]
    fetch(builder, received(builder.add(bundle, integer(AHEAD))), vectors, for_writing=True)
    started = [builder.load(pixel, align=4) if begun else _ZEROS for pixel in pixels]
    for pixel, total in zip(pixels, _summed(builder, edge, stop, base, edges, started, shape), strict=True):
        builder.store(total, pixel, align=4)
    bundle.add_incoming(following, builder.block)
    edge.add_incoming(stop, builder.block)
    builder.branch(head)
    builder.position_at_end(end)


def _summed(
    builder: ir.IRBuilder,
    edge: ir.Value,
    stop: ir.Value,
    base: ir.Value,
    edges: Any,
    started: list[ir.Value],
    shape: tuple[int, int, int],
) -> list[ir.Value]:
    """Emit the loop over the edges of a bundle; return the sums, which begin as `started`."""
    before = builder.block
    body, done = builder.append_basic_block("edge"), builder.append_basic_block("summed")
    builder.cbranch(builder.icmp_signed("<", edge, stop), body, done)
    builder.position_at_end(body)
    at = builder.phi(_INT)
    at.add_incoming(edge, before)
    sums = [builder.phi(_ZEROS.type) for _ in started]
    added = _with_edge(builder, builder.sub(at, base), edges, sums, shape)
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


def _with_edge(
    builder: ir.IRBuilder, at: ir.Value, edges: Any, sums: list[ir.Value], shape: tuple[int, int, int]
) -> list[ir.Value]:
    """Emit the multiply-adds of edge number `at` of each piece of a bundle."""
    offsets, weights, source = edges
    targets, apart, vectors = shape
    own_offsets = builder.gep(offsets, [builder.mul(at, integer(apart))])
    own_weights = builder.gep(weights, [builder.mul(at, integer(apart * targets))])
    added, totals = [], iter(sums)
    for piece in range(apart):
        offset = builder.sext(builder.load(builder.gep(own_offsets, [integer(piece)])), _INT)
        read = builder.gep(source, [offset])
        values = [builder.load(vector_at(builder, read, part), align=4) for part in range(vectors)]
        for target in range(targets):
            weight = builder.load(builder.gep(own_weights, [integer(piece * targets + target)]))
            factor = splat(builder, weight)
            added += [add_product(builder, next(totals), factor, value) for value in values]
    return added


stream_alone = _streamer(1, APART, ALONE)
stream, stream_2, stream_3, stream_4 = (
    _streamer(targets, APART if targets == 1 else 1, STREAMED) for targets in range(1, 5)
)


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
