"""How long the native engine's sums take where what they read is kept in 32 bits, and in 16.

    python bench/sums.py            two minutes
    python bench/sums.py --turns 5

Each target adds up 14 vectors of pixels over its edges, as add_up in dnw/engines/native/vector.py. In 16 bits
a word holds a pixel of one vector in its upper half and one of the next in its lower half: a line of the
cache that is read serves two multiply-adds (dnw/engines/native/pairs.py). "ahead" also fetches the sources of
the edge that comes so many edges later. Layers are those of widths 0.225 and 0.49, with edges drawn. Prints a
table of the least times, and writes bench/out/sums.json (--out).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import numba  # noqa: E402
import numpy as np  # noqa: E402
from llvmlite import ir  # noqa: E402
from numba import types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw.engines.native.memory import zeros  # noqa: E402
from dnw.engines.native.pairs import packed  # noqa: E402
from dnw.engines.native.vector import (  # noqa: E402
    LANES,
    add_product,
    data_of,
    fetch,
    integer,
    intrinsic,
    splat,
    vector_at,
)

Floats = NDArray[np.float32]
VECTORS = 14 if LANES == 16 else 8  # of pixels, at a time
AHEAD = 4  # edges
GROUP = 4  # targets that are received in the same place, as in the engine
LINE = 16  # floats


@dataclasses.dataclass(frozen=True)
class Layer:
    """How many targets of a layer choose from how many maps, by how many edges each."""

    name: str
    targets: int
    sources: int
    edges: int
    tiles: int  # of VECTORS vectors, that a map has


LAYERS = (
    Layer("28 px, width 0.225", 145, 319, 15, 4),
    Layer("14 px, width 0.225, second", 300, 463, 12, 1),
    Layer("14 px, width 0.225, last", 463, 1616, 43, 1),
    Layer("28 px, width 0.49", 255, 384, 70, 4),
    Layer("14 px, width 0.49, second", 511, 765, 57, 1),
    Layer("14 px, width 0.49, fourth", 508, 1784, 131, 1),
)


def adder(is_halved: bool, ahead: int) -> Any:
    """Make the intrinsic that writes to out[place:] a target's sum over the edges first..last."""

    @intrinsic
    def add(
        typingctx: Any, maps: Any, offsets: Any, weights: Any, first: Any, last: Any, pixel: Any, out: Any
    ) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            kinds, (_, _, _, first, last, pixel, _) = signature.args, arguments
            data, places, factors, target = (
                data_of(context, builder, kinds[at], arguments[at]) for at in (0, 1, 2, 6)
            )
            source = builder.gep(data, [pixel])
            zero = ir.Constant(ir.VectorType(ir.FloatType(), LANES), None)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS)]  # type: ignore[no-untyped-call]
            with cgutils.for_range(builder, last, start=first) as loop:
                row = _row(builder, source, places, loop.index)
                if ahead:
                    later = _row(builder, source, places, builder.add(loop.index, integer(ahead)))
                    fetch(builder, [later], VECTORS // 2 if is_halved else VECTORS, for_writing=False)
                factor = splat(builder, builder.load(builder.gep(factors, [loop.index])))
                for total, value in zip(sums, _values(builder, row, is_halved), strict=True):
                    builder.store(add_product(builder, builder.load(total), factor, value), total)
            for at, total in enumerate(sums):
                builder.store(builder.load(total), vector_at(builder, target, at), align=4)
            return context.get_dummy_value()

        return types.void(maps, offsets, weights, first, last, pixel, out), emit

    return add


def _row(builder: ir.IRBuilder, source: ir.Value, places: ir.Value, edge: ir.Value) -> ir.Value:
    offset = builder.load(builder.gep(places, [edge]))
    return builder.gep(source, [builder.sext(offset, ir.IntType(64))])


def _values(builder: ir.IRBuilder, row: ir.Value, is_halved: bool) -> list[ir.Value]:
    read = [
        builder.load(vector_at(builder, row, at), align=4)
        for at in range(VECTORS // 2 if is_halved else VECTORS)
    ]
    if not is_halved:
        return read
    words = ir.VectorType(ir.IntType(32), LANES)
    by = ir.Constant(words, [16] * LANES)
    lower = [builder.bitcast(builder.shl(builder.bitcast(word, words), by), word.type) for word in read]
    return [value for pair in zip(read, lower, strict=True) for value in pair]


def summing(is_halved: bool, ahead: int) -> Callable[..., None]:
    """Compile the loop over a layer's targets."""
    add = adder(is_halved, ahead)
    step = VECTORS * LANES // (2 if is_halved else 1)

    @numba.njit(nogil=True, fastmath={"contract", "reassoc", "nsz"})
    def run(
        maps: Any, offsets: Any, weights: Any, targets: int, edges: int, tiles: int, received: Any
    ) -> None:
        for target in range(targets):
            for tile in range(tiles):
                place = received[target % GROUP, tile]
                add(maps, offsets, weights, target * edges, (target + 1) * edges, tile * step, place)

    return run


WAYS = {
    "32 bits": summing(is_halved=False, ahead=0),
    "32 bits, ahead": summing(is_halved=False, ahead=AHEAD),
    "16 bits": summing(is_halved=True, ahead=0),
    "16 bits, ahead": summing(is_halved=True, ahead=AHEAD),
}


def contest(layer: Layer, turns: int) -> dict[str, Any]:
    """Let all ways take turns on a layer."""
    generator = np.random.default_rng(0)
    pixels = generator.standard_normal((layer.sources, layer.tiles * VECTORS * LANES), np.float32)
    pixels *= generator.random(pixels.shape) < 0.7  # the rest is zero, as after a ReLU
    chosen = np.sort(generator.integers(layer.sources, size=(layer.targets, layer.edges)))
    chosen = np.concatenate((chosen.ravel(), np.zeros(AHEAD, np.int64)))
    weights = generator.standard_normal(layer.targets * layer.edges).astype(np.float32)
    shape = GROUP, layer.tiles, VECTORS * LANES
    received = {name: zeros(math.prod(shape)).reshape(shape) for name in WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    prepared = {}
    for name in WAYS:
        values = np.stack([*map(packed, pixels)]) if name.startswith("16") else pixels
        size = (-(-values.shape[1] // LINE) | 1) * LINE
        maps = zeros(layer.sources * size)
        maps.reshape(layer.sources, size)[:, : values.shape[1]] = values
        prepared[name] = maps, (chosen * size).astype(np.int32)
    sizes = layer.targets, layer.edges, layer.tiles
    for _ in range(turns):
        for name, run in WAYS.items():
            run(*prepared[name], weights, *sizes, received[name])  # brings the maps into the cache
            began = time.thread_time()
            run(*prepared[name], weights, *sizes, received[name])
            seconds[name].append(time.thread_time() - began)
    exact = received["32 bits"]
    error = float(np.abs(received["16 bits"] - exact).max() / np.abs(exact).max())
    products = layer.targets * layer.edges * layer.tiles * VECTORS * LANES
    return {"error": error, "products": products, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "sums.json")
    options = parser.parse_args()
    rows = Table("layer", *(f"{name}, GFLOP/s" for name in WAYS), "16 to 32", "ahead to 32", "error")
    record = {}
    for layer in LAYERS:
        record[layer.name] = found = contest(layer, options.turns)
        seconds = {name: min(times) for name, times in found["seconds"].items()}
        speeds = [f"{2e-9 * found['products'] / took:.0f}" for took in seconds.values()]
        gains = [f"{seconds['32 bits'] / seconds[name]:.2f}" for name in ("16 bits", "16 bits, ahead")]
        rows.add_row(layer.name, *speeds, *gains, f"{found['error']:.1e}")
    Console().print(rows)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
