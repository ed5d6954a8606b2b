"""Compact networks of random shape, and what they compute, by torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dnw.compact import Compact, CompactBlock, CompactNodes, Head, InstanceNorm, Stem, Sums


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape) / 2


def some_sums(sources: int, targets: int, side: int) -> Sums:
    edges_TS = torch.rand(targets, sources) < 4 / sources
    edges_TS[torch.arange(targets), torch.randint(sources, (targets,))] = True
    edges_TS[targets // 3 : targets - 1] = edges_TS[targets // 3]  # as of a wiring with blocks
    at_targets, at_sources = edges_TS.nonzero(as_tuple=True)
    counts = torch.bincount(at_targets, minlength=targets)
    mapped = torch.arange(0, targets // 2, 3)
    return Sums(
        columns=sources,
        starts=torch.cat((torch.zeros(1), counts.cumsum(0))).int(),
        sources=at_sources.int(),
        weights=drawn(len(at_sources)),
        bias=drawn(targets),
        mapped=mapped.int(),
        maps=drawn(len(mapped), side, side),
    )


def some_nodes(count: int, stride: int, normed: bool) -> CompactNodes:
    norm = InstanceNorm(drawn(count), drawn(count), 1e-5) if normed else None
    return CompactNodes(drawn(count, 3, 3), stride, norm)


def some_network(size: int, stem_stride: int, block_stride: int, normed: bool) -> Compact:
    """Two blocks with layers of unequal width, some targets with a map, a mean over a window."""
    middle = -(-size // stem_stride)
    side = -(-middle // block_stride)
    first = CompactBlock(
        (some_nodes(5, 1, normed), some_nodes(7, 1, normed)),
        (some_sums(5, 7, middle), some_sums(12, 9, middle)),
        middle,
    )
    layers = (some_nodes(9, block_stride, normed), some_nodes(17, 1, normed), some_nodes(1, 1, normed))
    sums = (some_sums(9, 17, side), some_sums(26, 1, side), some_sums(27, 13, side))
    stem = Stem(drawn(5, 3, 3, 3), drawn(5), stem_stride)
    head = Head(
        rectified=not normed, corner=side // 3, window=side - side // 3, weight=drawn(4, 13), bias=drawn(4)
    )
    return Compact(size, stem, (first, CompactBlock(layers, sums, side)), head)


def by_torch(network: Compact, images_BCHW: Tensor) -> Tensor:
    """The definition of the compact form, in double precision."""
    assert network.stem is not None
    wide = network.to(dtype=torch.float64)
    assert wide.stem is not None
    received = F.conv2d(images_BCHW.double(), wide.stem.filters, wide.stem.bias, wide.stem.stride, padding=1)
    for block in wide.blocks:
        given: list[Tensor] = []
        for nodes, sums in zip(block.layers, block.sums, strict=True):
            if nodes.norm is not None:
                received = F.instance_norm(
                    received, weight=nodes.norm.scale, bias=nodes.norm.shift, eps=nodes.norm.epsilon
                )
            filters = nodes.filters[:, None]
            given.append(
                F.conv2d(received.relu(), filters, stride=nodes.stride, padding=1, groups=nodes.count)
            )
            received = (
                torch.einsum("ts,bshw->bthw", sums.dense(), torch.cat(given, 1)) + sums.bias[:, None, None]
            )
            received[:, sums.mapped.long()] += sums.maps
    head = wide.head
    window = slice(head.corner, head.corner + head.window)
    received = received.relu() if head.rectified else received
    return F.linear(received[:, :, window, window].mean((2, 3)), head.weight, head.bias).float()


def assert_same(found_BK: Tensor, expected_BK: Tensor) -> None:
    scale = expected_BK.abs().max()
    torch.testing.assert_close(found_BK / scale, expected_BK / scale, rtol=0, atol=1e-5)
