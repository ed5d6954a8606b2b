"""Parts of a layer or of a sum: what is left of it when only some nodes stay."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dnw.compact.form import CompactNodes, InstanceNorm, Stem, Sums


def select_stem(stem: Stem, keep_N: Tensor) -> Stem:
    """Keep the outputs that `keep_N` marks, bool [N]."""
    return Stem(stem.filters[keep_N], stem.bias[keep_N], stem.stride)


def select_nodes(nodes: CompactNodes, keep_N: Tensor) -> CompactNodes:
    """Keep the nodes that `keep_N` marks, bool [N]."""
    norm = nodes.norm
    if norm is not None:
        norm = InstanceNorm(norm.scale[keep_N], norm.shift[keep_N], norm.epsilon)
    return CompactNodes(nodes.filters[keep_N], nodes.stride, norm)


def select_sums(sums: Sums, targets_T: Tensor, sources_S: Tensor) -> Sums:
    """Keep the marked targets, bool [T], and of their edges those from marked sources, bool [S].

    Args:
        sums: of T targets, over edges from S sources.
        targets_T: True for those that stay.
        sources_S: True for those that are there to be read.
    """
    row_E = sums.targets()
    keep_E = targets_T[row_E] & sources_S[sums.sources]
    counts = torch.bincount(row_E[keep_E], minlength=sums.count)[targets_T]
    mapped_M = targets_T[sums.mapped]
    return Sums(
        columns=int(sources_S.sum()),
        starts=torch.cat((counts.new_zeros(1), counts.cumsum(0))).int(),
        sources=_new_numbers(sources_S)[sums.sources[keep_E]],
        weights=sums.weights[keep_E],
        bias=sums.bias[targets_T],
        mapped=_new_numbers(targets_T)[sums.mapped[mapped_M]],
        maps=sums.maps[mapped_M],
    )


def has_edge(sums: Sums) -> Tensor:
    """Targets with an edge, bool [T]."""
    return sums.starts.diff() > 0


def with_maps(sums: Sums, maps_THW: Tensor) -> Sums:
    """Add a map to what each target receives, of sums without maps; an even one becomes part of the bias."""
    bias_T = maps_THW[:, 0, 0]
    varies_T = (maps_THW != bias_T[:, None, None]).flatten(1).any(1)
    return dataclasses.replace(
        sums,
        bias=sums.bias + bias_T.where(~varies_T, 0),
        mapped=varies_T.nonzero().flatten().int(),
        maps=maps_THW[varies_T],
    )


def _new_numbers(keep: Tensor) -> Tensor:
    return (keep.cumsum(0) - 1).int()
