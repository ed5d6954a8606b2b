"""The native engine on a GPU: what is left of a network, as two Triton kernels.

Maps lie by node, all pixels of a node in the whole batch side by side, as in dnw/engines/forward.py. One
program of a grid computes a tile of pixels of one node:

- `_sum` adds up what a target receives: for each of its edges a tile of the source times the weight.
- `_give` rectifies what a node receives and filters it, borders included, straight into the block's memory.

Programs that take the same tile of pixels are neighbours in the grid, so that the sources which they share
come from the level-2 cache. The grid is flat: in its first dimension CUDA allows 2^31 - 1 programs, in the
others 65,535, which the tiles of a large batch exceed. The first convolution and the classifier are torch's.

Without a GPU, TRITON_INTERPRET=1 runs the same kernels on the CPU, slowly: so tests check them anywhere.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from dnw.compact import Compact, CompactNodes, Sums
from dnw.engines.forward import Add, Forward, PixelLayout, normed

PIXELS = 512  # of a tile


def gpu(network: Compact) -> Forward:
    """Prepare an engine for a network whose tensors are on the GPU."""
    return Forward(network, PixelLayout.BY_NODE, _sums, give=give)


def give(x_BCHW: Tensor, nodes: CompactNodes, room_BCHW: Tensor) -> Tensor:
    """Write what nodes give out for what they receive into the room.

    Args:
        x_BCHW: received, a channel for each node.
        nodes: their filters, norms and stride.
        room_BCHW: to write into, of the result's size.
    """
    x_BCHW = PixelLayout.BY_NODE.place(normed(x_BCHW, nodes))
    batch, count, side_in, _ = x_BCHW.shape
    side = room_BCHW.shape[-1]
    grid = (count * triton.cdiv(batch * side * side, PIXELS),)
    sizes = count, batch, side_in, side, nodes.stride
    _give[grid](x_BCHW, nodes.filters, room_BCHW, *sizes, PIXELS=PIXELS)
    return room_BCHW


def _sums(sums: Sums) -> Add:
    def add(given_BSHW: Tensor) -> Tensor:
        batch, _, side, _ = given_BSHW.shape
        x_BTHW = PixelLayout.BY_NODE.empty(given_BSHW, sums.count, side)
        pixels = batch * side * side
        grid = (sums.count * triton.cdiv(pixels, PIXELS),)
        edges = sums.starts, sums.sources, sums.weights, sums.bias
        _sum[grid](given_BSHW, *edges, x_BTHW, sums.count, pixels, PIXELS=PIXELS)
        return x_BTHW

    return add


@triton.jit  # type: ignore[untyped-decorator]
def _sum(given, starts, sources, weights, bias, received, targets, pixels, PIXELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """One tile of what one target receives."""
    target = tl.program_id(0) % targets
    at = tl.program_id(0) // targets * PIXELS + tl.arange(0, PIXELS)
    inside = at < pixels
    total = tl.zeros([PIXELS], tl.float32) + tl.load(bias + target)
    for edge in range(tl.load(starts + target), tl.load(starts + target + 1)):
        source = tl.load(sources + edge).to(tl.int64)
        total += tl.load(weights + edge) * tl.load(given + source * pixels + at, mask=inside, other=0.0)
    tl.store(received + target.to(tl.int64) * pixels + at, total, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _give(received, filters, given, nodes, batch, side_in, side, stride, PIXELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """One tile of what one node gives out: a filter of 3x3 over what it received, rectified."""
    node = (tl.program_id(0) % nodes).to(tl.int64)
    at = tl.program_id(0) // nodes * PIXELS + tl.arange(0, PIXELS)
    inside = at < batch * side * side
    image, row, column = at // (side * side), at % (side * side) // side, at % side
    total = tl.zeros([PIXELS], tl.float32)
    for down in tl.static_range(3):
        for right in tl.static_range(3):
            y, x = row * stride + down - 1, column * stride + right - 1
            within = inside & (y >= 0) & (y < side_in) & (x >= 0) & (x < side_in)
            place = ((node * batch + image) * side_in + y) * side_in + x
            value = tl.load(received + place, mask=within, other=0.0)
            total += tl.maximum(value, 0.0) * tl.load(filters + node * 9 + down * 3 + right)
    tl.store(given + node * batch * side * side + at, total, mask=inside)
