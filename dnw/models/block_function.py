"""A block of the MobileNetV1-like network in training: one autograd function for all its layers.

Layer by layer a block normalizes what its nodes have received, cuts off what is negative, filters, and sends
the result along the edges to all later layers. Graph.propagate says the same in torch's differentiable
operations, for evaluation; their backward concatenates and pads slices, copies the gradient of each layer's
weights to its place, and under autocast casts each by itself. On a GPU launches and the memory's bandwidth
bound a step, so both passes are written out here:

- Forward: what the coming layer receives is a product's own result, laid out as the norm wants it; what later
  layers have received so far stands in one matrix, to which each layer adds its part in place.
- Backward: each product writes into its place of the one gradient of the graph's weights, where illegal edges
  stay zero. In a block of many layers the gradients of all that was received stand in one matrix, filled from
  the last layer to the first, so that a layer takes two products over all its targets. In one of two layers
  the copies into it would cost more than the two products that they spare.
- Under autocast each weight is cast once in either direction, a block's inner filters together.

Saved of each layer: what it received, the batch's mean and deviation, its nodes' outputs before and after the
filter: what autograd would save, too. ReLU is in place. Nothing is recomputed: to write and read a map again
costs more than to keep it. The running statistics are written as torch's own norm writes them;
`num_batches_tracked`, which dnw.training.running_stats sets itself, is not counted. There is no second
derivative.

Shapes: x_BCHW feature maps; x_NC the same, see dnw.models.graph; weight_TS the graph, T targets, S sources.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dnw.models.graph import maps, pixels
from dnw.wiring import Layout


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a block's function is told besides tensors that learn."""

    layout: Layout
    stride: int  # of the first layer's filters
    norms: Sequence[nn.BatchNorm2d]  # of each layer; they have momentum and running statistics

    def stride_of(self, layer: int) -> int:
        """Return the stride of a layer's filters."""
        return self.stride if layer == 0 else 1


class _Kept(NamedTuple):
    """What the backward needs of a layer."""

    x_BCHW: Tensor  # received
    given_BCHW: Tensor  # normalized, cut off
    h_BCHW: Tensor  # filtered
    filters: Tensor
    scale: Tensor  # of the norm
    mean: Tensor  # of the batch
    deviation: Tensor  # its inverse
    reserve: Tensor  # the norm's own


def block(plan: Plan, x_BCHW: Tensor, weight_TS: Tensor, first: Tensor, inner: Tensor | None) -> Tensor:
    """Return what the outputs receive, [B, outputs, H/stride, W/stride]; computed in bf16 under autocast.

    `first` and `inner` are the depthwise filters of layer 0 and of all later layers, [nodes, 1, 3, 3]. Raises
    ValueError for a single value per channel, of which there are no statistics.
    """
    affine = [tensor for norm in plan.norms for tensor in (norm.weight, norm.bias)]
    result: Tensor = _Block.apply(plan, x_BCHW, weight_TS, first, inner, *affine)  # type: ignore[no-untyped-call]
    return result


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        x_BCHW: Tensor,
        weight_TS: Tensor,
        first: Tensor,
        inner: Tensor | None,
        *affine: Tensor,
    ) -> Tensor:
        ctx.plan, ctx.dtypes = plan, (x_BCHW.dtype, weight_TS.dtype)
        kind = x_BCHW.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_BCHW.dtype
        x_BCHW, weight_TS, first = x_BCHW.to(dtype), weight_TS.to(dtype), first.to(dtype)
        nodes = plan.layout.outputs
        filters = [first] if inner is None else [first, *inner.to(dtype).split(nodes)]
        kept: list[Tensor] = []
        ctx.norms_used = []  # which of torch's
        later_NT = None  # what the layers after the coming one have received so far
        for layer, (row, start, stop) in enumerate(plan.layout.blocks):
            normed_BCHW, *statistics, used = _normalize(plan.norms[layer], x_BCHW, *affine[2 * layer :][:2])
            ctx.norms_used.append(used)
            given_BCHW = normed_BCHW.relu_()
            stride = plan.stride_of(layer)
            h_BCHW = F.conv2d(given_BCHW, filters[layer], stride=stride, padding=1, groups=stop - start)
            kept += _Kept(x_BCHW, given_BCHW, h_BCHW, filters[layer], affine[2 * layer], *statistics)
            x_NC, later_NT = _send(pixels(h_BCHW), weight_TS[row:, start:stop], later_NT, nodes)
            x_BCHW = maps(x_NC, h_BCHW.shape)
        ctx.save_for_backward(weight_TS, *kept)
        return x_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        layout, depth, size = plan.layout, len(plan.norms), len(_Kept._fields)
        weight_TS, *kept = ctx.saved_tensors
        x_dtype, weight_dtype = ctx.dtypes
        to_weight_TS = torch.zeros_like(weight_TS)
        to_filters: list[Tensor] = []
        to_affine: list[Tensor] = []
        (to_x_BCHW,) = gradients
        received = _Received(layout)
        for layer in reversed(range(depth)):
            _, start, stop = layout.blocks[layer]
            of_layer = _Kept(*kept[size * layer : size * (layer + 1)])
            received.prepend(pixels(to_x_BCHW))
            h_NS = pixels(of_layer.h_BCHW)
            to_h_NS = received.send_back(h_NS, weight_TS[:, start:stop], to_weight_TS[:, start:stop])
            to_h_BCHW = maps(to_h_NS, of_layer.h_BCHW.shape)
            used = ctx.norms_used[layer]
            to_x_BCHW, to_layer_filters, *to_norm = _node_backward(plan, layer, of_layer, to_h_BCHW, used)
            to_filters.insert(0, to_layer_filters)
            to_affine[:0] = to_norm
        first, *inner = to_filters
        to_inner = torch.cat(inner).to(weight_dtype) if inner else None
        to_first, to_weight_TS = first.to(weight_dtype), to_weight_TS.to(weight_dtype)
        return None, to_x_BCHW.to(x_dtype), to_weight_TS, to_first, to_inner, *to_affine


class _Received:
    """The gradients of what the targets received, of the last layers so far, by their rows."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._row = layout.rows  # the first that is here
        self._parts: list[tuple[int, Tensor]] = []  # first row, gradient_NT
        self._all_NT: Tensor | None = None

    def prepend(self, gradient_NT: Tensor) -> None:
        """Take the gradient of the layer before those that are here."""
        stop, self._row = self._row, self._row - self._layout.outputs
        if len(self._layout.blocks) <= 2:
            self._parts.append((self._row, gradient_NT))
            return
        if self._all_NT is None:
            self._all_NT = gradient_NT.new_empty(len(gradient_NT), self._layout.rows)
        self._all_NT[:, self._row : stop] = gradient_NT
        self._parts = [(self._row, self._all_NT[:, self._row :])]

    def send_back(self, h_NS: Tensor, weight_TS: Tensor, to_weight_TS: Tensor) -> Tensor:
        """Return the gradient of what a layer gave, `h_NS`; write that of its columns of the weights."""
        to_h_NS = None
        for row, gradient_NT in self._parts:
            rows = slice(row, row + gradient_NT.shape[1])
            torch.mm(gradient_NT.t(), h_NS, out=to_weight_TS[rows])
            if to_h_NS is None:
                to_h_NS = torch.mm(gradient_NT, weight_TS[rows])
            else:
                to_h_NS.addmm_(gradient_NT, weight_TS[rows])
        assert to_h_NS is not None
        return to_h_NS


def _normalize(norm: nn.BatchNorm2d, x_BCHW: Tensor, scale: Tensor, shift: Tensor) -> tuple[Any, ...]:
    """Return the maps, mean and deviation of the batch, a reserve, and the number of torch's norm that ran.

    It is what torch.batch_norm does, except that the latter keeps what the backward is to be told.
    """
    F._verify_batch_size(list(x_BCHW.shape))  # type: ignore[attr-defined]
    running, cudnn = (norm.running_mean, norm.running_var), torch.backends.cudnn.enabled
    result: tuple[Any, ...] = torch.ops.aten._batch_norm_impl_index(
        x_BCHW, scale, shift, *running, True, norm.momentum, norm.eps, cudnn
    )
    return result


def _send(
    h_NS: Tensor, weight_TS: Tensor, later_NT: Tensor | None, nodes: int
) -> tuple[Tensor, Tensor | None]:
    """Add what a layer gives: return what the coming layer of `nodes` receives, and the later ones so far."""
    coming_ST, beyond_ST = weight_TS[:nodes].t(), weight_TS[nodes:].t()
    is_last = beyond_ST.shape[1] == 0
    if later_NT is None:
        return torch.mm(h_NS, coming_ST), None if is_last else torch.mm(h_NS, beyond_ST)
    coming_NT = torch.addmm(later_NT[:, :nodes], h_NS, coming_ST)
    return coming_NT, None if is_last else later_NT[:, nodes:].addmm_(h_NS, beyond_ST)


def _node_backward(plan: Plan, layer: int, kept: _Kept, to_h_BCHW: Tensor, used: int) -> tuple[Tensor, ...]:
    """Return the gradients of what a layer received, of its filters, and of its norm's scale and shift."""
    norm, stride = plan.norms[layer], [plan.stride_of(layer)] * 2
    geometry = (None, stride, [1, 1], [1, 1], False, [0, 0], len(kept.filters), [True, True, False])
    to_given_BCHW, to_filters, _ = torch.ops.aten.convolution_backward(
        to_h_BCHW, kept.given_BCHW, kept.filters, *geometry
    )
    to_normed_BCHW = torch.ops.aten.threshold_backward(to_given_BCHW, kept.given_BCHW, 0)
    statistics = (norm.running_mean, norm.running_var, kept.mean, kept.deviation)
    to_x_BCHW, to_scale, to_shift = torch.ops.aten._batch_norm_impl_index_backward(
        used,
        kept.x_BCHW,
        to_normed_BCHW,
        kept.scale,
        *statistics,
        True,
        norm.eps,
        [True, True, True],
        kept.reserve,
    )
    return to_x_BCHW, to_filters, to_scale, to_shift
