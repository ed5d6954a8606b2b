"""Exact choice of the largest weights on a GPU: radix selection, as Triton kernels that never wait.

The bits of |w| are ordered as |w| is. Four passes count the digits of 7, 8, 8 and 8 bits of those weights
whose higher digits are the threshold's; every program finds these anew from the counts of the passes before,
so that none comes back to the host. A fifth pass counts the weights at the threshold by block, a sixth marks
those above and, from the first block on, as many at it as are wanted. Counts are sums of integers: whatever
the order of the atomic additions, they are the same.

For each choice that is 7 launches, one of which clears the counts, and at most 5 bytes a position and pass
(float32 weight and legality), 1 for the mark: 31 bytes a position. Not measured on a GPU. A sampled bound, as
on a CPU, would need lists whose lengths only the device knows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048  # positions that a program looks at together
TILES = 8  # of a program
BINS = 256  # of a digit of 8 bits; the first has 7
DIGITS = 4


@torch.library.custom_op("dnw::mark_largest", mutates_args=("out",))
def mark_largest(weight: Tensor, legal: Tensor | None, budget: int, out: Tensor) -> None:
    """Mark the `budget` largest magnitudes in `out`, ties to the lowest index.

    All are contiguous, of one dimension and one length; `legal` and `out` are bool. Needs a budget of at
    least 1, and as many legal positions.
    """
    size = weight.numel()
    blocks = triton.cdiv(size, TILE * TILES)
    counts = torch.zeros(DIGITS * BINS, dtype=torch.int32, device=weight.device)
    ties = torch.empty(blocks, dtype=torch.int32, device=weight.device)
    marks = out.view(torch.uint8)
    given = weight, marks if legal is None else legal.view(torch.uint8)
    shape = {"LEGAL": legal is not None, "TILE": TILE, "TILES": TILES, "BINS": BINS}
    with torch.cuda.device_of(weight):
        for digit in range(DIGITS):
            _count[(blocks,)](*given, counts, size, budget, DIGIT=digit, **shape)
        _tie[(blocks,)](*given, counts, ties, size, budget, **shape)
        _mark[(blocks,)](
            *given, counts, ties, marks, size, budget, BLOCKS=triton.next_power_of_2(blocks), **shape
        )


@mark_largest.register_fake
def _(weight: Tensor, legal: Tensor | None, budget: int, out: Tensor) -> None:
    """Change no shape."""


@triton.jit  # type: ignore[untyped-decorator]
def _keys(weight, legal, at, size, LEGAL: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the bits of |w|, -1 where a position is illegal or beyond the end."""
    inside = at < size
    bits = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32).to(tl.int32, bitcast=True)
    if LEGAL:
        inside = inside & (tl.load(legal + at, mask=inside, other=0) != 0)
    return tl.where(inside, bits & 0x7FFFFFFF, -1)


@triton.jit  # type: ignore[untyped-decorator]
def _narrow(counts, budget, DIGITS: tl.constexpr, BINS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the threshold's first digits, and how many weights that share them are wanted."""
    found = budget * 0
    rest = budget
    for digit in tl.static_range(DIGITS):
        count = tl.load(counts + digit * BINS + tl.arange(0, BINS))
        reaching = tl.sum(count, 0) - tl.cumsum(count, 0) + count
        place = tl.sum((reaching >= rest).to(tl.int32), 0) - 1
        rest -= tl.sum(tl.where(tl.arange(0, BINS) > place, count, 0), 0)
        found = found * 256 + place
    return found, rest


@triton.jit(do_not_specialize=["size", "budget"])  # type: ignore[untyped-decorator]
def _count(  # type: ignore[no-untyped-def]
    weight,
    legal,
    counts,
    size,
    budget,
    DIGIT: tl.constexpr,
    LEGAL: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    BINS: tl.constexpr,
):
    """Count a digit of the weights that share the threshold's digits before it."""
    found, _ = _narrow(counts, budget, DIGIT, BINS)
    shift: tl.constexpr = 24 - 8 * DIGIT
    total = tl.zeros([BINS], tl.int32)
    for tile in range(TILES):
        at = (tl.program_id(0) * TILES + tile) * TILE + tl.arange(0, TILE)
        key = _keys(weight, legal, at, size, LEGAL)
        if DIGIT == 0:
            total += tl.histogram(key >> shift, BINS, mask=key >= 0)
        else:
            shares = (key >= 0) & ((key >> (shift + 8)) == found)
            total += tl.histogram((key >> shift) & 255, BINS, mask=shares)
    tl.atomic_add(counts + DIGIT * BINS + tl.arange(0, BINS), total, mask=total > 0)


@triton.jit(do_not_specialize=["size", "budget"])  # type: ignore[untyped-decorator]
def _tie(  # type: ignore[no-untyped-def]
    weight,
    legal,
    counts,
    ties,
    size,
    budget,
    LEGAL: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    BINS: tl.constexpr,
):
    """Count a block's weights at the threshold."""
    threshold, _ = _narrow(counts, budget, 4, BINS)
    total = budget * 0
    for tile in range(TILES):
        at = (tl.program_id(0) * TILES + tile) * TILE + tl.arange(0, TILE)
        total += tl.sum((_keys(weight, legal, at, size, LEGAL) == threshold).to(tl.int32), 0)
    tl.store(ties + tl.program_id(0), total)


@triton.jit(do_not_specialize=["size", "budget"])  # type: ignore[untyped-decorator]
def _mark(  # type: ignore[no-untyped-def]
    weight,
    legal,
    counts,
    ties,
    marks,
    size,
    budget,
    BLOCKS: tl.constexpr,
    LEGAL: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    BINS: tl.constexpr,
):
    """Mark a block's weights above the threshold, and the first ones at it."""
    threshold, wanted = _narrow(counts, budget, 4, BINS)
    block = tl.arange(0, BLOCKS)
    before = tl.sum(tl.load(ties + block, mask=block < tl.program_id(0), other=0), 0)
    for tile in range(TILES):
        at = (tl.program_id(0) * TILES + tile) * TILE + tl.arange(0, TILE)
        key = _keys(weight, legal, at, size, LEGAL)
        tied = (key == threshold).to(tl.int32)
        chosen = (key > threshold) | ((tied > 0) & (before + tl.cumsum(tied, 0) <= wanted))
        tl.store(marks + at, chosen.to(tl.uint8), mask=at < size)
        before += tl.sum(tied, 0)
