"""What is left of a graph of channels once everything that can't matter is gone, for engines to run.

A network is a first convolution, blocks, and a head. In a block, layers of nodes take turns with sums: a node
rectifies what it has received and filters it, a sum adds up what earlier nodes of the block have given out.
BatchNorm is part of the weights. All maps are square.

Shapes: N nodes of a layer, S all earlier nodes of the block, T targets of a sum, E edges, M targets with a
map, K classes, H = W = side. Tensors are contiguous, float32 if not said otherwise.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Stem:
    """The first convolution, 3x3 on images padded by a zero border: what the first nodes receive."""

    filters: Tensor  # [N, 3, 3, 3]
    bias: Tensor  # [N]
    stride: int


@dataclasses.dataclass(frozen=True, eq=False)
class InstanceNorm:
    """Each map to mean 0 and variance 1 over its own pixels, then times scale plus shift."""

    scale: Tensor  # [N]
    shift: Tensor  # [N]
    epsilon: float  # added to the variance


@dataclasses.dataclass(frozen=True, eq=False)
class CompactNodes:
    """A layer of nodes: norm if there is one, ReLU, a 3x3 filter each on maps padded by a zero border."""

    filters: Tensor  # [N, 3, 3]
    stride: int
    norm: InstanceNorm | None = None

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self.filters)


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """What targets receive: a sum over edges (compressed sparse rows), a bias, and for some of them a map.

    Target t receives bias[t], and for each edge e from starts[t] up to starts[t + 1] what node sources[e]
    gives out times weights[e]. Target mapped[m] also receives maps[m]: what nodes give it that no image
    reaches, which isn't the same at all pixels, as their filters meet the zero border.
    """

    columns: int  # S; the block's nodes are numbered through its layers
    starts: Tensor  # int32 [T + 1]
    sources: Tensor  # int32 [E], rising within a row
    weights: Tensor  # [E]
    bias: Tensor  # [T]
    mapped: Tensor  # int32 [M], rising
    maps: Tensor  # [M, H, W]

    @property
    def count(self) -> int:
        """How many targets there are."""
        return len(self.bias)

    def dense(self) -> Tensor:
        """Return the edges as a matrix [T, S]."""
        matrix_TS = self.weights.new_zeros(self.count, self.columns)
        matrix_TS[self.targets(), self.sources.long()] = self.weights
        return matrix_TS

    def targets(self) -> Tensor:
        """Return the target of each edge, int64."""
        rows_T = torch.arange(self.count, device=self.starts.device)
        return rows_T.repeat_interleave(self.starts.diff(), output_size=len(self.sources))


@dataclasses.dataclass(frozen=True, eq=False)
class CompactBlock:
    """Layers of nodes; sums[i] is what layer i + 1 receives, the last one what the block gives out.

    Layer 0 receives what the block before gives out, or the stem. Its stride may be 2, all others' is 1.
    """

    layers: tuple[CompactNodes, ...]
    sums: tuple[Sums, ...]
    side: int  # of all maps but those that layer 0 receives


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """ReLU if `rectified`, the mean over `window` x `window` pixels from (corner, corner) on, classifier."""

    rectified: bool
    corner: int
    window: int
    weight: Tensor  # [K, N]
    bias: Tensor  # [K]


@dataclasses.dataclass(frozen=True, eq=False)
class Compact:
    """A network for normalized images [B, 3, image_size, image_size].

    Every node lies on a path from the image to a class: no layer, sum or row of edges is empty. Where there
    is no such path at all, `stem` is None, there are no blocks, and the logits are the head's bias.
    """

    image_size: int
    stem: Stem | None
    blocks: tuple[CompactBlock, ...]
    head: Head

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Compact:
        """Return a copy on `device`, its floating-point tensors in `dtype`; None leaves them."""
        converted: Compact = _converted(self, dtype, device)
        return converted

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.head.bias.device

    def constant(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits [B, classes] of a network without a path from the image to a class."""
        return self.head.bias.expand(len(images_BCHW), -1)


def _converted(part: Any, dtype: torch.dtype | None, device: torch.device | None) -> Any:
    if isinstance(part, Tensor):
        return part.to(device, dtype if part.is_floating_point() else None).contiguous()
    if isinstance(part, tuple):
        return tuple(_converted(inner, dtype, device) for inner in part)
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        names = (field.name for field in dataclasses.fields(part))
        changes = {name: _converted(getattr(part, name), dtype, device) for name in names}
        return dataclasses.replace(part, **changes)
    return part
