"""Instructions that numba has no words for: sums of maps held in vector registers, a barrier between threads.

LLVM doesn't keep an array in registers over a loop of unknown length, so the innermost loop is emitted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

intrinsic: Callable[[Callable[..., Any]], Any] = numba_intrinsic  # called without the first argument
_HAS_512_BITS = llvm.get_host_cpu_features().get("avx512f", False)
LANES = 16 if _HAS_512_BITS else 8  # floats in a vector register; halves where registers are of 128 bits
LARGEST_TILE = 14  # vectors: 16 registers less one for the weight and one to spare
LINE = 16  # floats in a cache line
TOGETHER = 4  # targets with the same sources, at most: times 3 vectors, as many as the largest tile, nearly

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INT = ir.IntType(64)


class Reading(NamedTuple):
    """How sources are read: emit(builder, place, vectors of memory) returns vectors of pixels."""

    emit: Callable[[ir.IRBuilder, ir.Value, int], list[ir.Value]]
    pixels: int  # vectors of them in one of memory
    most: int  # vectors of memory at a time
    ahead: int = 0  # edges: so much earlier, sources are fetched from the level-2 cache


def adder(targets: int, reading: Reading) -> Any:
    """Make the intrinsic that sums up what so many targets receive."""

    @intrinsic
    def add_up(
        typingctx: Any,
        vectors: Any,
        maps: Any,
        offsets: Any,
        weights: Any,
        first: Any,
        last: Any,
        pixel: Any,
        biases: Any,
        bias: Any,
        floor: Any,
        kept: Any,
        place: Any,
        step: Any,
    ) -> Any:
        """Write to maps[place:] biases[bias] plus the sum over edges of weight * maps[offset + pixel:].

        The edges are first..last. Where there are several targets, each one has the same offsets and weights
        of its own, which lie one behind the other; what it receives is `step` after that of the one before.
        `vectors` of memory (up to reading.most) are read; what is below `floor` becomes `floor`,
        and then only the bits stay that are set in maps[kept:].
        """

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _write_sums(context, builder, signature.args, arguments, targets, reading)
            return context.get_dummy_value()

        edges = offsets, weights, first, last
        return types.void(vectors, maps, *edges, pixel, biases, bias, floor, kept, place, step), emit

    return add_up


def _write_sums(
    context: Any, builder: ir.IRBuilder, kinds: Any, arguments: Any, targets: int, reading: Reading
) -> None:
    """Emit what `adder` says, for arguments of these kinds."""
    vectors, maps, offsets, weights, first, last, pixel, biases, bias, floor, kept, place, step = arguments
    data = data_of(context, builder, kinds[1], maps)
    edges = (data_of(context, builder, kinds[2], offsets), data_of(context, builder, kinds[3], weights))
    begin = builder.gep(data_of(context, builder, kinds[7], biases), [bias])
    starts = [splat(builder, builder.load(builder.gep(begin, [integer(t)]))) for t in range(targets)]
    source, lowest = builder.gep(data, [pixel]), splat(builder, floor)
    masks = builder.gep(data, [kept])
    for size in cases(builder, vectors, reading.most):
        sums = _loop(builder, size, source, edges, (first, last), starts, reading)
        for target, row in enumerate(sums):
            start = builder.gep(data, [builder.add(place, builder.mul(step, integer(target)))])
            for at, total in enumerate(row):
                larger = builder.select(builder.fcmp_ordered(">", total, lowest), total, lowest)
                bits = builder.load(vector_at(builder, masks, at), align=4)
                builder.store(masked(builder, larger, bits), vector_at(builder, start, at), align=4)


def _loop(
    builder: ir.IRBuilder,
    size: int,
    source: ir.Value,
    edges: tuple[ir.Value, ir.Value],
    span: tuple[ir.Value, ir.Value],
    starts: list[ir.Value],
    reading: Reading,
) -> list[list[ir.Value]]:
    """Emit the loop over a span of edges (offsets, weights), which reads `size` vectors of memory for each.

    Returns each target's sums.
    """
    offsets, weights = edges
    first, last = span
    before = builder.block
    head, body, done = (builder.append_basic_block(name) for name in ("head", "edge", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    edge = builder.phi(_INT)
    edge.add_incoming(first, before)
    pixels = size * reading.pixels
    sums = [[builder.phi(_VECTOR) for _ in range(pixels)] for _ in starts]
    builder.cbranch(builder.icmp_signed("<", edge, last), body, done)
    builder.position_at_end(body)
    if reading.ahead:
        later = builder.add(edge, integer(reading.ahead))
        fetch(builder, [_source(builder, source, offsets, later)], size, for_writing=False)
    values = reading.emit(builder, _source(builder, source, offsets, edge), size)
    at_weight = edge
    for start, totals in zip(starts, sums, strict=True):
        weight = splat(builder, builder.load(builder.gep(weights, [at_weight])))
        at_weight = builder.add(at_weight, builder.sub(last, first))
        for total, value in zip(totals, values, strict=True):
            total.add_incoming(start, before)
            total.add_incoming(add_product(builder, total, weight, value), body)
    edge.add_incoming(builder.add(edge, integer(1)), body)
    builder.branch(head)
    builder.position_at_end(done)
    return sums


def _source(builder: ir.IRBuilder, source: ir.Value, offsets: ir.Value, edge: ir.Value) -> ir.Value:
    return builder.gep(source, [builder.sext(builder.load(builder.gep(offsets, [edge])), _INT)])


def _plain(builder: ir.IRBuilder, place: ir.Value, vectors: int) -> list[ir.Value]:
    return [builder.load(vector_at(builder, place, at), align=4) for at in range(vectors)]


add_up, add_up_2, add_up_3, add_up_4 = (
    adder(targets, Reading(_plain, 1, LARGEST_TILE // targets)) for targets in range(1, TOGETHER + 1)
)


def every_second(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, begin: int = 0) -> ir.Value:
    """Return every second lane, from lane `begin` on, of two vectors on end."""
    lanes = list(range(begin, 2 * LANES, 2))
    places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes)
    return builder.shuffle_vector(first, second, places)


@intrinsic
def halve(typingctx: Any, vectors: Any, pixels: Any, begin: Any, maps: Any, even: Any, odd: Any) -> Any:
    """Copy pixels[begin:] in turns to maps[even:] and maps[odd:], `vectors` times LANES to each."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vectors, pixels, begin, maps, even, odd = arguments
        read = builder.gep(data_of(context, builder, signature.args[1], pixels), [begin])
        data = data_of(context, builder, signature.args[3], maps)
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.mul(loop.index, integer(LANES))
            start = builder.gep(read, [builder.mul(at, integer(2))])
            both = [builder.load(vector_at(builder, start, part), align=4) for part in range(2)]
            for first, place in enumerate((even, odd)):
                write = vector_at(builder, builder.gep(data, [builder.add(place, at)]), 0)
                builder.store(every_second(builder, both[0], both[1], first), write, align=4)
        return context.get_dummy_value()

    return types.void(vectors, pixels, begin, maps, even, odd), emit


@intrinsic
def move(typingctx: Any, vectors: Any, maps: Any, source: Any, place: Any) -> Any:
    """Copy `vectors` times LANES floats from maps[source:] to maps[place:], which lie apart."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vectors, maps, source, place = arguments
        data = data_of(context, builder, signature.args[1], maps)
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.mul(loop.index, integer(LANES))
            read, write = (builder.gep(data, [builder.add(start, at)]) for start in (source, place))
            values = builder.load(vector_at(builder, read, 0), align=4)
            builder.store(values, vector_at(builder, write, 0), align=4)
        return context.get_dummy_value()

    return types.void(vectors, maps, source, place), emit


@intrinsic
def total_of(typingctx: Any, vectors: Any, maps: Any, place: Any) -> Any:
    """Return the sum of `vectors` times LANES floats from maps[place:] on."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vectors, maps, place = arguments
        start = builder.gep(data_of(context, builder, signature.args[1], maps), [place])
        sums = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None))  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.gep(start, [builder.mul(loop.index, integer(LANES))])
            value = builder.load(vector_at(builder, at, 0), align=4)
            builder.store(builder.fadd(builder.load(sums), value), sums)
        total, lanes = builder.load(sums), LANES
        while lanes > 1:
            lanes //= 2
            upper = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes, 2 * lanes)))
            lower = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
            total = builder.fadd(*(builder.shuffle_vector(total, total, half) for half in (lower, upper)))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(vectors, maps, place), emit


@intrinsic
def arrive(typingctx: Any, counter: Any) -> Any:
    """Add one to counter[0]; what was written before is seen by those who see the new count."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        data = data_of(context, builder, signature.args[0], arguments[0])
        builder.atomic_rmw("add", data, integer(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(counter), emit


@intrinsic
def arrived(typingctx: Any, counter: Any) -> Any:
    """Return counter[0], as other threads have left it."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        data = data_of(context, builder, signature.args[0], arguments[0])
        return builder.load_atomic(data, "acquire", align=8)

    return types.int64(counter), emit


@intrinsic
def give_way(typingctx: Any) -> Any:
    """Let another thread run on this core."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        function = cgutils.get_or_insert_function(builder.module, kind, "sched_yield")  # type: ignore[no-untyped-call]
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), emit


def cases(builder: ir.IRBuilder, value: ir.Value, largest: int) -> Iterator[int]:
    """Emit code for each value from 1 to `largest`, in turn, and a jump to the right one."""
    end = builder.append_basic_block("end")
    switch = builder.switch(value, end)
    for case in range(1, largest + 1):
        block = builder.append_basic_block(f"case{case}")
        switch.add_case(integer(case), block)
        builder.position_at_end(block)
        yield case
        builder.branch(end)
    builder.position_at_end(end)


def fetch(builder: ir.IRBuilder, places: list[ir.Value], vectors: int, *, for_writing: bool) -> None:
    """Emit a hint that so many vectors at each place will be read, or also written."""
    byte = ir.IntType(8).as_pointer()
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
    in_all_levels, data = (ir.Constant(number, value) for value in (3, 1))
    for place in places:
        for part in range(0, vectors, LINE // LANES):
            line = builder.bitcast(vector_at(builder, place, part), byte)
            builder.call(function, [line, ir.Constant(number, int(for_writing)), in_all_levels, data])


def integer(value: int) -> ir.Constant:
    """Return a number as LLVM has it."""
    return ir.Constant(_INT, value)


def add_product(builder: ir.IRBuilder, total: ir.Value, weight: ir.Value, value: ir.Value) -> ir.Value:
    """One instruction where the CPU has one: `contract` lets it round once."""
    return builder.fadd(total, builder.fmul(weight, value, flags=["contract"]), flags=["contract"])


def masked(builder: ir.IRBuilder, value: ir.Value, bits: ir.Value) -> ir.Value:
    """Return the bits of `value` that are set in `bits`, two vectors of floats."""
    integers = ir.VectorType(ir.IntType(32), LANES)
    both = builder.and_(builder.bitcast(value, integers), builder.bitcast(bits, integers))
    return builder.bitcast(both, _VECTOR)


def data_of(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value) -> ir.Value:
    """Return where the first element of an array of numba lies."""
    return context.make_array(kind)(context, builder, array).data


def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a vector that has `value` in all lanes."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


def vector_at(builder: ir.IRBuilder, start: ir.Value, at: int) -> ir.Value:
    """Return where vector number `at` from `start` on lies."""
    place = builder.gep(start, [integer(at * LANES)])
    return builder.bitcast(place, _VECTOR.as_pointer())
