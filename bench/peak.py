"""What a core reaches at most: multiply-adds of vectors that never leave its registers.

A product of matrices doesn't tell that: MKL, which torch multiplies by, takes half of the width of an AMD
CPU's vectors.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dnw.engines.native.vector import LANES, add_product, intrinsic, splat

SUMS = 12  # more than a core has under way at a time: units times cycles until a result is there
ROUNDS = 1_000_000


@intrinsic
def multiply_adds(typingctx: Any, rounds: Any, factor: Any) -> Any:
    """Return a lane of what `rounds` times SUMS multiply-adds come to."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        rounds, factor = arguments
        by = splat(builder, factor)
        sums = [cgutils.alloca_once_value(builder, by) for _ in range(SUMS)]  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, rounds):
            for total in sums:  # LLVM keeps them in registers
                builder.store(add_product(builder, builder.load(total), by, builder.load(total)), total)
        whole = builder.load(sums[0])
        for total in sums[1:]:
            whole = builder.fadd(whole, builder.load(total))
        return builder.extract_element(whole, ir.Constant(ir.IntType(32), 0))

    return types.float32(rounds, factor), emit


@numba.njit(nogil=True, fastmath={"contract"})
def _run(rounds: int, factor: Any) -> Any:
    return multiply_adds(rounds, factor)


def peak_gflops(threads: int) -> float:
    """Return how many GFLOP/s so many threads reach together, each on a core of its own."""
    factor = numba.float32(1e-9)  # what is added doesn't change the sums
    _run(1, factor)
    with ThreadPoolExecutor(threads) as pool:
        taken = []
        for _ in range(8):
            began = time.perf_counter()
            list(pool.map(_run, [ROUNDS] * threads, [factor] * threads))
            taken.append(time.perf_counter() - began)
    return 2e-9 * ROUNDS * SUMS * LANES * threads / min(taken)
