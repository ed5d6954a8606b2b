"""A compact network run by torch; engines differ in how they add up what nodes give out.

Maps lie in memory either by pixel, all channels of a pixel side by side, or by node, all pixels of a node in
the whole batch side by side; an engine's sums choose.

Shapes: x_BCHW what nodes receive, given_BSHW what all nodes of a block so far give out; the rest as in
dnw/compact/form.py.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from dnw.compact import Compact, CompactBlock, CompactNodes, Head, Sums
from dnw.hardware.memory import room

Add = Callable[[Tensor], Tensor]  # given_BSHW -> x_BTHW, maps not included
# x_BCHW, which is lost, nodes, room_BCHW -> given_BCHW
Give = Callable[[Tensor, CompactNodes, Tensor], Tensor]


class PixelLayout(Enum):
    """How maps lie in memory."""

    BY_PIXEL = "by pixel"
    BY_NODE = "by node"

    def place(self, x_BCHW: Tensor) -> Tensor:
        """Lay the maps in this order."""
        if self is PixelLayout.BY_PIXEL:
            return x_BCHW.contiguous(memory_format=torch.channels_last)
        return x_BCHW.transpose(0, 1).contiguous().transpose(0, 1)

    def empty(self, like_BCHW: Tensor, nodes: int, side: int) -> Tensor:
        """Room for the maps of `nodes`, for as many images as `like_BCHW` has."""
        batch = len(like_BCHW)
        if self is PixelLayout.BY_PIXEL:
            return room(like_BCHW, (batch, side, side, nodes)).permute(0, 3, 1, 2)
        return room(like_BCHW, (nodes, batch, side, side)).transpose(0, 1)


def normed(x_BCHW: Tensor, nodes: CompactNodes) -> Tensor:
    """Apply the norm of a layer, if it has one."""
    norm = nodes.norm
    if norm is None:
        return x_BCHW
    return F.instance_norm(x_BCHW, weight=norm.scale, bias=norm.shift, eps=norm.epsilon)


def torch_give(x_BCHW: Tensor, nodes: CompactNodes, room_BCHW: Tensor) -> Tensor:
    """Return what nodes give out for what they receive, in memory that torch's convolution allocates.

    Args:
        x_BCHW: received, a channel for each node; it is lost.
        nodes: their filters, norms and stride.
        room_BCHW: unused; other engines write into it.
    """
    filters = nodes.filters[:, None]
    rectified_BCHW = normed(x_BCHW, nodes).relu_()
    return F.conv2d(rectified_BCHW, filters, stride=nodes.stride, padding=1, groups=nodes.count)


class Forward:
    """Maps images to logits, layer by layer, on the device where the network's tensors are."""

    def __init__(
        self,
        network: Compact,
        order: PixelLayout,
        sums: Callable[[Sums], Add],
        dtype: torch.dtype = torch.float32,
        give: Give = torch_give,
    ) -> None:
        """Prepare the forward pass; `sums` makes what an engine needs to add up what targets receive."""
        assert network.stem is not None
        network = network.to(dtype=dtype)
        self._dtype = dtype
        self._order = order
        self._network = network
        self._blocks = [_PreparedBlock(block, order, sums, give) for block in network.blocks]

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Map images to logits, float32."""
        stem = self._network.stem
        assert stem is not None
        images_BCHW = self._order.place(images_BCHW.to(self._dtype))
        x_BCHW = F.conv2d(images_BCHW, stem.filters, stem.bias, stem.stride, padding=1)
        for block in self._blocks:
            x_BCHW = block(x_BCHW)
        return _classify(x_BCHW, self._network.head)


class _PreparedBlock:
    """A block with its sums as an engine computes them."""

    def __init__(
        self, block: CompactBlock, order: PixelLayout, sums: Callable[[Sums], Add], give: Give
    ) -> None:
        self._order = order
        self._side = block.side
        self._layers = block.layers
        self._give = give
        self._sums = [sums(one) for one in block.sums]
        self._maps = [_all_maps(one, order) for one in block.sums]

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Map what the first layer receives to what the block gives out."""
        nodes = sum(layer.count for layer in self._layers)
        given_BSHW = self._order.empty(x_BCHW, nodes, self._side)
        stop = 0
        for layer, add, maps in zip(self._layers, self._sums, self._maps, strict=True):
            start, stop = stop, stop + layer.count
            room_BCHW = given_BSHW[:, start:stop]
            h_BCHW = self._give(x_BCHW, layer, room_BCHW)
            if layer.count == nodes:  # a single layer needs no room beside others
                given_BSHW = h_BCHW
            elif h_BCHW is not room_BCHW:
                room_BCHW.copy_(h_BCHW)
            x_BCHW = add(given_BSHW[:, :stop])
            if maps is not None:
                x_BCHW += maps
        return x_BCHW


def _all_maps(sums: Sums, order: PixelLayout) -> Tensor | None:
    """Return the maps of all targets, [1, T, H, W], zero for those without one."""
    if not len(sums.mapped):
        return None
    maps_BTHW = sums.maps.new_zeros(1, sums.count, *sums.maps.shape[1:])
    maps_BTHW[0, sums.mapped.long()] = sums.maps
    return order.place(maps_BTHW)


def _classify(x_BCHW: Tensor, head: Head) -> Tensor:
    pixels = slice(head.corner, head.corner + head.window)
    x_BCHW = x_BCHW[:, :, pixels, pixels]
    features_BC = (x_BCHW.relu() if head.rectified else x_BCHW).mean((2, 3))
    return F.linear(features_BC, head.weight, head.bias).float()
