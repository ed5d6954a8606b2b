"""Exact choice of the largest weights on a GPU: radix selection, as Triton kernels that never wait.

The bits of |w| are ordered as |w| is. `_count` counts by the first 8 of them, the exponent, then by the next
8 those weights that have the threshold's exponent. `_mark` marks what is above these 16 bits, and lists the
places of the weights that share them, less than 1 % of normal weights. `_finish`, one program, selects among
these by the other 15 bits and then by place, so that no two are equal, and stops as soon as it can.

Each program finds the threshold's bits anew from the counts, so that nothing comes back to the host. Counts
are sums of integers, and the order of the list doesn't matter: whatever the order of the atomic additions,
the choice is the same. The list has room for all, 4 bytes a position: where very many weights are nearly
equal `_finish` takes longer, in proportion to their number, and is as exact.

A choice is 5 launches, one of which clears the counts. Three passes read the legality and the legal weights,
and the last of them writes the marks; see `traffic`. Not measured on a GPU. The sampled bound that serves a
CPU would save a pass, but a wrong bound would need another way to choose, without the host's knowing.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LAUNCHES = 5  # for a choice
PASSES = 3  # over all positions
TILE = 2048  # positions that a program looks at together
TILES = 4  # of a program
FINISHING_WARPS = 16  # of the one program that finishes
BINS = tl.constexpr(256)  # of a digit of 8 bits
LOW = tl.constexpr(15)  # bits of a magnitude below the two digits that are counted
PLACE = tl.constexpr(31)  # bits of a place


@torch.library.custom_op("dnw::mark_largest", mutates_args=("out",))
def mark_largest(weight: Tensor, legal: Tensor | None, budget: int, out: Tensor) -> None:
    """Mark the `budget` largest magnitudes in `out`, ties to the lowest index.

    All are contiguous, of one dimension and one length, below 2^31.

    Args:
        weight: float32.
        legal: where marks may be, bool, at least `budget` of them; None: everywhere.
        budget: at least 1.
        out: bool; all of it is written.
    """
    size = weight.numel()
    counts = torch.zeros(2 * BINS.value + 1, dtype=torch.int32, device=weight.device)  # last: of the list
    shared = torch.empty(size, dtype=torch.int32, device=weight.device)
    bits, marks = weight.view(torch.int32), out.view(torch.uint8)
    given = bits, marks if legal is None else legal.view(torch.uint8), counts
    grid = (triton.cdiv(size, TILE * TILES),)
    shape = {"LEGAL": legal is not None, "TILE": TILE, "TILES": TILES}
    with torch.cuda.device_of(weight):
        _count[grid](*given, size, budget, DIGIT=0, **shape)
        _count[grid](*given, size, budget, DIGIT=1, **shape)
        _mark[grid](*given, shared, marks, size, budget, **shape)
        _finish[(1,)](bits, counts, shared, marks, budget, TILE=TILE, num_warps=FINISHING_WARPS)


@mark_largest.register_fake
def _(weight: Tensor, legal: Tensor | None, budget: int, out: Tensor) -> None:
    """Change no shape."""


def traffic(positions: int, legal: int | None = None) -> int:
    """Return the bytes that a choice reads and writes, the list aside; None: no legality is read."""
    read = 4 * positions if legal is None else positions + 4 * legal
    return PASSES * read + positions


@triton.jit  # type: ignore[untyped-decorator]
def _keys(bits, legal, at, size, LEGAL: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the bits of |w|, -1 where a position is illegal or beyond the end."""
    inside = at < size
    if LEGAL:
        inside = inside & (tl.load(legal + at, mask=inside, other=0) != 0)
    return tl.where(inside, tl.load(bits + at, mask=inside, other=0) & 0x7FFFFFFF, -1)


@triton.jit
def _narrow(count, wanted):  # type: ignore[no-untyped-def]
    """Return the digit of the `wanted`-th largest, how many have it, and how many of these are wanted."""
    digits = tl.arange(0, BINS)
    reaching = tl.sum(count, 0) - tl.cumsum(count, 0) + count
    digit = tl.sum((reaching >= wanted).to(tl.int32), 0) - 1
    above = tl.sum(tl.where(digits > digit, count, 0), 0)
    return digit, tl.sum(tl.where(digits == digit, count, 0), 0), wanted - above


@triton.jit(do_not_specialize=["size", "budget"])  # type: ignore[untyped-decorator]
def _count(  # type: ignore[no-untyped-def]
    bits,
    legal,
    counts,
    size,
    budget,
    DIGIT: tl.constexpr,
    LEGAL: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Count the exponents, or the digit after it of the weights that share the threshold's exponent."""
    digits = tl.arange(0, BINS)
    if DIGIT == 1:
        exponent, _, _ = _narrow(tl.load(counts + digits), budget)
    total = tl.zeros([BINS], tl.int32)
    for tile in range(TILES):
        at = (tl.program_id(0) * TILES + tile) * TILE + tl.arange(0, TILE)
        key = _keys(bits, legal, at, size, LEGAL)
        if DIGIT == 0:
            total += tl.histogram(key >> (LOW + 8), BINS, mask=key >= 0)
        else:
            total += tl.histogram((key >> LOW) & 255, BINS, mask=(key >> (LOW + 8)) == exponent)
    tl.atomic_add(counts + DIGIT * BINS + digits, total, mask=total > 0)


@triton.jit(do_not_specialize=["size", "budget"])  # type: ignore[untyped-decorator]
def _mark(  # type: ignore[no-untyped-def]
    bits,
    legal,
    counts,
    shared,
    marks,
    size,
    budget,
    LEGAL: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
):
    """Mark the weights above the threshold's 16 bits, and list the places of those that share them."""
    digits = tl.arange(0, BINS)
    exponent, _, wanted = _narrow(tl.load(counts + digits), budget)
    digit, _, _ = _narrow(tl.load(counts + BINS + digits), wanted)
    threshold = exponent * 256 + digit
    for tile in range(TILES):
        at = (tl.program_id(0) * TILES + tile) * TILE + tl.arange(0, TILE)
        high = _keys(bits, legal, at, size, LEGAL) >> LOW
        tl.store(marks + at, (high > threshold).to(tl.uint8), mask=at < size)
        shares = (high == threshold).to(tl.int32)
        number = tl.sum(shares, 0)
        start = tl.atomic_add(counts + 2 * BINS, number, mask=number > 0)
        tl.store(shared + start + tl.cumsum(shares, 0) - 1, at, mask=shares > 0)


@triton.jit
def _rank(bits, place):  # type: ignore[no-untyped-def]
    """Return the order of listed places: by the low bits of |w|, then the lowest place last; -1 for none."""
    low = tl.load(bits + place, mask=place >= 0, other=0) & 0x7FFF
    return tl.where(place >= 0, (low.to(tl.int64) << PLACE) | (0x7FFFFFFF - place), -1)


@triton.jit(do_not_specialize=["budget"])  # type: ignore[untyped-decorator]
def _finish(bits, counts, shared, marks, budget, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Mark those of the listed places that are wanted."""
    digits = tl.arange(0, BINS)
    _, _, wanted = _narrow(tl.load(counts + digits), budget)
    _, number, wanted = _narrow(tl.load(counts + BINS + digits), wanted)
    tiles = tl.cdiv(number, TILE)
    shift = number * 0 + 48  # ranks have 46 bits
    equal = number
    found = number.to(tl.int64) * 0
    while equal > wanted:  # no two ranks are the same: this ends before the digits do
        shift -= 8
        total = tl.zeros([BINS], tl.int32)
        for tile in range(tiles):
            at = tile * TILE + tl.arange(0, TILE)
            rank = _rank(bits, tl.load(shared + at, mask=at < number, other=-1))
            shares = (rank >> (shift + 8)) == found
            total += tl.histogram(((rank >> shift) & 255).to(tl.int32), BINS, mask=shares)
        digit, equal, wanted = _narrow(total, wanted)
        found = found * 256 + digit
    for tile in range(tiles):
        at = tile * TILE + tl.arange(0, TILE)
        place = tl.load(shared + at, mask=at < number, other=-1)
        chosen = (place >= 0) & ((_rank(bits, place) >> shift) >= found)
        tl.store(marks + place, chosen.to(tl.uint8), mask=chosen)
