"""What is left of a graph of channels once everything that can't matter is gone, for engines to run.

A network is a first convolution, blocks, and a head. In a block, layers of nodes take turns with sums: a node
rectifies what it has received and filters it, a sum adds up what earlier nodes of the block have given out.
BatchNorm is part of the weights. All maps are square.

Its arrays are torch's tensors where networks are reduced and trained, and numpy's where they are only used,
so that a machine that has no torch can use them (dnw.load). The parameter A says which.

Shapes: N nodes of a layer, S all earlier nodes of the block, T targets of a sum, E edges, M targets with a
map, K classes, H = W = side. Arrays are contiguous, float32 if not said otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, Generic

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import TypeVar

    A = TypeVar("A", bound=Sized, default=Tensor)
else:
    from typing import TypeVar

    A = TypeVar("A", bound=Sized)
Arrays = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Stem(Generic[A]):
    """The first convolution, 3x3 on images padded by a zero border: what the first nodes receive."""

    filters: A  # [N, 3, 3, 3]
    bias: A  # [N]
    stride: int


@dataclasses.dataclass(frozen=True, eq=False)
class InstanceNorm(Generic[A]):
    """Each map to mean 0 and variance 1 over its own pixels, then times scale plus shift."""

    scale: A  # [N]
    shift: A  # [N]
    epsilon: float  # added to the variance


@dataclasses.dataclass(frozen=True, eq=False)
class CompactNodes(Generic[A]):
    """A layer of nodes: norm if there is one, ReLU, a 3x3 filter each on maps padded by a zero border."""

    filters: A  # [N, 3, 3]
    stride: int
    norm: InstanceNorm[A] | None = None

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self.filters)


@dataclasses.dataclass(frozen=True, eq=False)
class Sums(Generic[A]):
    """What targets receive: a sum over edges (compressed sparse rows), a bias, and for some of them a map.

    Target t receives bias[t], and for each edge e from starts[t] up to starts[t + 1] what node sources[e]
    gives out times weights[e]. Target mapped[m] also receives maps[m]: what nodes give it that no image
    reaches, which isn't the same at all pixels, as their filters meet the zero border.
    """

    columns: int  # S; the block's nodes are numbered through its layers
    starts: A  # int32 [T + 1]
    sources: A  # int32 [E], rising within a row
    weights: A  # [E]
    bias: A  # [T]
    mapped: A  # int32 [M], rising
    maps: A  # [M, H, W]

    @property
    def count(self) -> int:
        """How many targets there are."""
        return len(self.bias)

    def dense(self: Sums) -> Tensor:
        """Return the edges as a matrix [T, S]."""
        matrix_TS = self.weights.new_zeros(self.count, self.columns)
        matrix_TS[self.targets(), self.sources.long()] = self.weights
        return matrix_TS

    def targets(self: Sums) -> Tensor:
        """Return the target of each edge, int64."""
        rows_T = self.starts.new_ones(self.count).cumsum(0) - 1
        return rows_T.repeat_interleave(self.starts.diff(), output_size=len(self.sources))


@dataclasses.dataclass(frozen=True, eq=False)
class CompactBlock(Generic[A]):
    """Layers of nodes; sums[i] is what layer i + 1 receives, the last one what the block gives out.

    Layer 0 receives what the block before gives out, or the stem. Its stride may be 2, all others' is 1.
    """

    layers: tuple[CompactNodes[A], ...]
    sums: tuple[Sums[A], ...]
    side: int  # of all maps but those that layer 0 receives


@dataclasses.dataclass(frozen=True, eq=False)
class Head(Generic[A]):
    """ReLU if `rectified`, the mean over `window` x `window` pixels from (corner, corner) on, classifier."""

    rectified: bool
    corner: int
    window: int
    weight: A  # [K, N]
    bias: A  # [K]


@dataclasses.dataclass(frozen=True, eq=False)
class Compact(Generic[A]):
    """A network for normalized images [B, 3, image_size, image_size].

    Every node lies on a path from the image to a class: no layer, sum or row of edges is empty. Where there
    is no such path at all, `stem` is None, there are no blocks, and the logits are the head's bias.
    """

    image_size: int
    stem: Stem[A] | None
    blocks: tuple[CompactBlock[A], ...]
    head: Head[A]

    def to(self: Compact, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Compact:
        """Return a copy on `device`, its floating-point tensors in `dtype`; None leaves them."""

        def converted(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None).contiguous()

        of_tensors: Compact = _converted(self, converted)
        return of_tensors

    def arrays(self: Compact) -> Compact[Arrays]:
        """Return it with arrays of numpy, which share the memory of tensors on the CPU."""
        of_arrays: Compact[Arrays] = _converted(self, lambda tensor: tensor.cpu().numpy())
        return of_arrays

    def tensors(self: Compact[Arrays]) -> Compact:
        """Return a copy with tensors of torch, on the CPU."""
        from torch import tensor  # noqa: PLC0415  (who has numpy's arrays may have no torch)

        of_tensors: Compact = _converted(self, tensor)
        return of_tensors

    @property
    def device(self: Compact) -> torch.device:
        """Where its tensors are."""
        return self.head.bias.device

    def constant(self: Compact, images_BCHW: Tensor) -> Tensor:
        """Return the logits [B, classes] of a network without a path from the image to a class."""
        return self.head.bias.expand(len(images_BCHW), -1)


def _converted(part: Any, convert: Callable[[Any], Any]) -> Any:
    if part is None or isinstance(part, int | float):
        return part
    if isinstance(part, tuple):
        return tuple(_converted(inner, convert) for inner in part)
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        names = (field.name for field in dataclasses.fields(part))
        return dataclasses.replace(part, **{name: _converted(getattr(part, name), convert) for name in names})
    return convert(part)
