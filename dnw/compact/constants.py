"""Fold what no image reaches into biases: a node without a path from the image gives out the same for all.

It doesn't give out the same at all pixels, for its filter meets the zero border, and so do those of nodes
that hear only such nodes. So what it adds to a target is a map.

Shapes: as in dnw/compact/form.py; C nodes that no image reaches.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from dnw.compact.form import Compact, CompactBlock, CompactNodes, Head, InstanceNorm, Stem, Sums
from dnw.compact.selection import has_edge, select_nodes, select_stem, select_sums, with_maps


@dataclasses.dataclass(frozen=True, eq=False)
class _Received:
    """What a layer receives: which of its nodes an image reaches, and the maps of the others."""

    reached: Tensor  # bool [N]
    maps: Tensor  # [C, H, W], of the others, in their order

    def __post_init__(self) -> None:
        assert len(self.maps) == int((~self.reached).sum())


def fold_constants(network: Compact) -> Compact:
    """Remove all nodes that no image reaches; layers and sums may be left empty."""
    assert network.stem is not None
    first_layers = [block.layers[0] for block in network.blocks]
    stem, received = _fold_stem(network.stem, network.image_size, _silent(first_layers[0]))
    blocks = []
    for block, following in zip(network.blocks, [*first_layers[1:], None], strict=True):
        folded, received = _fold_block(block, received, following)
        blocks.append(folded)
    head = _fold_head(network.head, received)
    return dataclasses.replace(network, stem=stem, blocks=tuple(blocks), head=head)


def _fold_stem(stem: Stem, image_size: int, silent_N: Tensor) -> tuple[Stem, _Received]:
    reached_N = stem.filters.flatten(1).any(1) & ~silent_N
    side = -(-image_size // stem.stride)
    maps_CHW = stem.bias[~reached_N, None, None].expand(-1, side, side)
    return select_stem(stem, reached_N), _Received(reached_N, maps_CHW)


def _fold_block(
    block: CompactBlock, received: _Received, following: CompactNodes | None
) -> tuple[CompactBlock, _Received]:
    layers, sums = [], []
    reached_S = torch.empty(0, dtype=torch.bool)
    given_CHW = received.maps.new_empty(0, block.side, block.side)
    readers = (*block.layers[1:], following)
    for nodes, layer_sums, reader in zip(block.layers, block.sums, readers, strict=True):
        layers.append(select_nodes(nodes, received.reached))
        reached_S = torch.cat((reached_S, received.reached))
        constants = select_nodes(nodes, ~received.reached)
        given_CHW = torch.cat((given_CHW, _given(constants, received.maps)))
        silent_T = torch.zeros(layer_sums.count, dtype=torch.bool) if reader is None else _silent(reader)
        folded, received = _fold_sums(layer_sums, reached_S, given_CHW, silent_T)
        sums.append(folded)
    return CompactBlock(tuple(layers), tuple(sums), block.side), received


def _silent(nodes: CompactNodes) -> Tensor:
    """Nodes that give out the same whatever they receive, bool [N]: as good as not reached."""
    silent_N = ~nodes.filters.flatten(1).any(1)
    return silent_N if nodes.norm is None else silent_N | (nodes.norm.scale == 0)


def _given(nodes: CompactNodes, received_CHW: Tensor) -> Tensor:
    """Return what nodes give out, [C, H, W]."""
    if nodes.count == 0:
        side = -(-received_CHW.shape[-1] // nodes.stride)
        return received_CHW.new_empty(0, side, side)
    x_BCHW = received_CHW[None]
    if nodes.norm is not None:
        x_BCHW = _normalized(x_BCHW, nodes.norm)
    filters = nodes.filters[:, None]
    given_BCHW = F.conv2d(x_BCHW.relu(), filters, stride=nodes.stride, padding=1, groups=nodes.count)
    return given_BCHW[0]


def _normalized(x_BCHW: Tensor, norm: InstanceNorm) -> Tensor:
    return F.instance_norm(x_BCHW, weight=norm.scale, bias=norm.shift, eps=norm.epsilon)


def _fold_sums(sums: Sums, reached_S: Tensor, given_CHW: Tensor, silent_T: Tensor) -> tuple[Sums, _Received]:
    everyone_T = torch.ones(sums.count, dtype=torch.bool)
    carrying = select_sums(sums, everyone_T, reached_S)
    constant = select_sums(sums, everyone_T, ~reached_S)
    maps_THW = (_matrix(constant) @ given_CHW.flatten(1)).unflatten(1, given_CHW.shape[1:])
    reached_T = has_edge(carrying) & ~silent_T
    maps_CHW = maps_THW[~reached_T] + sums.bias[~reached_T, None, None]
    everyone_S = torch.ones(carrying.columns, dtype=torch.bool)
    folded = select_sums(with_maps(carrying, maps_THW), reached_T, everyone_S)
    return folded, _Received(reached_T, maps_CHW)


def _matrix(sums: Sums) -> Tensor:
    indices_2E = torch.stack((sums.targets(), sums.sources.long()))
    size = (sums.count, sums.columns)
    return torch.sparse_coo_tensor(indices_2E, sums.weights, size, check_invariants=True)


def _fold_head(head: Head, received: _Received) -> Head:
    pixels = slice(head.corner, head.corner + head.window)
    maps_CHW = received.maps.relu() if head.rectified else received.maps
    features_C = maps_CHW[:, pixels, pixels].mean((1, 2))
    return dataclasses.replace(
        head,
        weight=head.weight[:, received.reached],
        bias=head.bias + head.weight[:, ~received.reached] @ features_C,
    )
