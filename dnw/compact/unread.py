"""Remove what nobody reads: a node without an edge to a node that is read, from the classifier backwards.

Shapes: as in dnw/compact/form.py.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dnw.compact.form import Compact, CompactBlock, Sums
from dnw.compact.selection import select_nodes, select_stem, select_sums


def remove_unread(network: Compact) -> Compact:
    """Remove all nodes that nobody reads, and layers that are empty then.

    Of a network in which an image reaches all nodes. Where nobody reads anything, only the head is left.
    """
    read_N = network.head.weight.any(0)
    head = dataclasses.replace(network.head, weight=network.head.weight[:, read_N])
    if not read_N.any():
        return dataclasses.replace(network, stem=None, blocks=(), head=head)
    blocks = []
    for block in reversed(network.blocks):
        left, read_N = _left(block, read_N)
        blocks.append(left)
    assert network.stem is not None
    stem = select_stem(network.stem, read_N)
    return dataclasses.replace(network, stem=stem, blocks=tuple(reversed(blocks)), head=head)


def _left(block: CompactBlock, outputs_T: Tensor) -> tuple[CompactBlock, Tensor]:
    """Return the block without what nobody reads, and which of its inputs are read, bool [N]."""
    read = [outputs_T]  # targets of each sum, from the first to the last
    sources_S = _sources(block.sums[-1], outputs_T)
    for sums in reversed(block.sums[:-1]):
        sources_S, targets_T = sources_S[: sums.columns], sources_S[sums.columns :]
        read.insert(0, targets_T)
        sources_S = sources_S | _sources(sums, targets_T)
    return _without_gaps(block, sources_S, read), sources_S


def _sources(sums: Sums, targets_T: Tensor) -> Tensor:
    sources_S = torch.zeros(sums.columns, dtype=torch.bool)
    sources_S[sums.sources[targets_T[sums.targets()]]] = True
    return sources_S


def _without_gaps(block: CompactBlock, inputs_N: Tensor, read: list[Tensor]) -> CompactBlock:
    layers, all_sums = [select_nodes(block.layers[0], inputs_N)], []
    kept_S = inputs_N
    for nodes, sums, targets_T in zip(block.layers[1:], block.sums[:-1], read[:-1], strict=True):
        if targets_T.any():
            layers.append(select_nodes(nodes, targets_T))
            all_sums.append(select_sums(sums, targets_T, kept_S))
        kept_S = torch.cat((kept_S, targets_T))
    all_sums.append(select_sums(block.sums[-1], read[-1], kept_S))
    return CompactBlock(tuple(layers), tuple(all_sums), block.side)
