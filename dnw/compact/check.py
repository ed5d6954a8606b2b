"""Check the shapes and indices of a compact network: engines trust them, and read where they point."""

from __future__ import annotations

import numpy as np

from dnw.compact.form import Arrays, Compact, CompactBlock, CompactNodes, Head, Sums

COLOURS = 3


def check(network: Compact[Arrays]) -> None:
    """Raise ValueError where shapes contradict each other, an index points nowhere, or something is empty."""
    if network.stem is None:
        _expect("blocks without a stem", not network.blocks)
        _check_head(network.head, 0, network.image_size)
        return
    nodes, side = len(network.stem.bias), -(-network.image_size // network.stem.stride)
    _expect("stem", network.stem.filters.shape == (nodes, COLOURS, 3, 3))
    for place, block in enumerate(network.blocks):
        _expect(f"blocks.{place}: sides", block.side == -(-side // block.layers[0].stride))
        nodes, side = _check_block(block, f"blocks.{place}", nodes), block.side
    _check_head(network.head, nodes, side)


def _check_block(block: CompactBlock[Arrays], name: str, received: int) -> int:
    """Return how many targets the last sums have."""
    _expect(f"{name}: as many layers as sums", len(block.layers) == len(block.sums))
    nodes = 0
    for place, (layer, sums) in enumerate(zip(block.layers, block.sums, strict=True)):
        _check_nodes(layer, f"{name}.layers.{place}", received)
        _expect(f"{name}.layers.{place}: stride", place == 0 or layer.stride == 1)
        nodes += layer.count
        _expect(f"{name}.sums.{place}: columns", sums.columns == nodes)
        _check_sums(sums, f"{name}.sums.{place}", block.side)
        received = sums.count
    return received


def _check_nodes(nodes: CompactNodes[Arrays], name: str, received: int) -> None:
    _expect(f"{name}: nodes", nodes.count == received > 0)
    _expect(f"{name}.filters", nodes.filters.shape == (received, 3, 3))
    if nodes.norm is not None:
        _expect(f"{name}.norm", nodes.norm.scale.shape == nodes.norm.shift.shape == (received,))


def _check_sums(sums: Sums[Arrays], name: str, side: int) -> None:
    edges = len(sums.weights)
    _expect(f"{name}.starts", sums.starts.shape == (sums.count + 1,) and sums.starts.dtype == np.int32)
    _expect(f"{name}.starts", int(sums.starts[0]) == 0 and int(sums.starts[-1]) == edges)
    _expect(f"{name}: a row without edges", bool((np.diff(sums.starts) > 0).all()))
    _expect(f"{name}.sources", sums.sources.shape == (edges,) and _within(sums.sources, sums.columns))
    _expect(f"{name}.mapped", sums.mapped.ndim == 1 and _within(sums.mapped, sums.count))
    _expect(f"{name}.maps", len(sums.mapped) == 0 or sums.maps.shape == (len(sums.mapped), side, side))


def _check_head(head: Head[Arrays], nodes: int, side: int) -> None:
    _expect("head", head.weight.shape == (len(head.bias), nodes))
    _expect("head: window", nodes == 0 or (head.corner >= 0 < head.window <= side - head.corner))


def _within(indices: Arrays, stop: int) -> bool:
    return indices.dtype == np.int32 and bool(((indices >= 0) & (indices < stop)).all())


def _expect(what: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"no compact network: {what}")
