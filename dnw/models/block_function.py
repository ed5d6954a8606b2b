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
- Under autocast each weight is cast once in either direction, all of a block by one launch.
- Norm and ReLU are one operation on a GPU, see dnw.models.norm_relu.

Saved of each layer: what it received, the batch's mean and deviation, its nodes' outputs before and after the
filter: what autograd would save, too. No map is recomputed: to write and read it again costs more than to
keep it. The running statistics are written as torch's own norm writes them;
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

from dnw.hardware.memory import room
from dnw.models import norm_relu
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


def block(plan: Plan, x_BCHW: Tensor, weight_TS: Tensor, first: Tensor, inner: Tensor | None) -> Tensor:
    """Return what the outputs receive, [B, outputs, H/stride, W/stride]; computed in bf16 under autocast.

    Args:
        plan: what isn't learned.
        x_BCHW: what layer 0 receives, [B, inputs, H, W].
        weight_TS: of the graph, illegal edges zero.
        first: the depthwise filters of layer 0, [nodes, 1, 3, 3].
        inner: those of all later layers, one behind the other; None if there is one layer.

    Raises:
        ValueError: there is a single value per channel, of which there are no statistics.
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
        x_BCHW, nodes = x_BCHW.to(dtype), plan.layout.outputs
        weight_TS, first, *more = _cast([weight_TS, first, *([] if inner is None else [inner])], dtype)
        filters = [first, *(part for whole in more for part in whole.split(nodes))]
        kept: list[Tensor] = []
        ctx.norms_used = []  # which of torch's
        later_NT = None  # what the layers after the coming one have received so far
        for layer, (row, start, stop) in enumerate(plan.layout.blocks):
            given_BCHW, saved, used = norm_relu.forward(
                plan.norms[layer], x_BCHW, *affine[2 * layer : 2 * layer + 2]
            )
            ctx.norms_used.append(used)
            stride = plan.stride_of(layer)
            h_BCHW = F.conv2d(given_BCHW, filters[layer], stride=stride, padding=1, groups=stop - start)
            kept += (*_Kept(x_BCHW, given_BCHW, h_BCHW, filters[layer]), *saved)
            x_NC, later_NT = _send(pixels(h_BCHW), weight_TS[row:, start:stop], later_NT, nodes)
            x_BCHW = maps(x_NC, h_BCHW.shape)
        ctx.save_for_backward(weight_TS, *kept)
        return x_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        layout, depth = plan.layout, len(plan.norms)
        weight_TS, *kept = ctx.saved_tensors
        x_dtype, weight_dtype = ctx.dtypes
        to_weight_TS = torch.zeros_like(weight_TS)
        to_filters: list[Tensor] = []
        to_affine: list[Tensor] = []
        (to_x_BCHW,) = gradients
        received = _Received(layout)
        for layer in reversed(range(depth)):
            _, start, stop = layout.blocks[layer]
            of_layer, saved = _of_layer(kept, layer)
            received.prepend(pixels(to_x_BCHW))
            h_NS = pixels(of_layer.h_BCHW)
            to_h_NS = received.send_back(h_NS, weight_TS[:, start:stop], to_weight_TS[:, start:stop])
            to_h_BCHW = maps(to_h_NS, of_layer.h_BCHW.shape)
            to_given_BCHW, to_layer_filters = _filter_backward(plan, layer, of_layer, to_h_BCHW)
            to_x_BCHW, *to_norm = norm_relu.backward(
                *(plan.norms[layer], to_given_BCHW, of_layer.given_BCHW, of_layer.x_BCHW),
                *(saved, ctx.norms_used[layer]),
            )
            to_filters.insert(0, to_layer_filters)
            to_affine[:0] = to_norm
        learned = _joined([to_weight_TS, *to_filters], weight_dtype)
        return None, to_x_BCHW.to(x_dtype), *learned, *to_affine


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
            self._all_NT = room(gradient_NT, (len(gradient_NT), self._layout.rows))
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


def _of_layer(kept: Sequence[Tensor], layer: int) -> tuple[_Kept, norm_relu.Saved]:
    count = len(_Kept._fields)
    size = count + len(norm_relu.Saved._fields)
    of_layer = kept[layer * size : (layer + 1) * size]
    return _Kept(*of_layer[:count]), norm_relu.Saved(*of_layer[count:])


def _cast(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return the tensors as `dtype`, by one launch; those that have it as they are."""
    if all(tensor.dtype == dtype for tensor in tensors):
        return tensors
    cast = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(cast, tensors)
    return cast


def _joined(gradients: list[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of the graph, of the first filters, and of all later ones, by one launch."""
    to_weight_TS, to_first, *to_later = gradients
    to_inner = to_first.new_empty(sum(map(len, to_later)), *to_first.shape[1:], dtype=dtype)
    parts = list(to_inner.split([len(part) for part in to_later]))
    if to_first.dtype != dtype:
        cast = [torch.empty_like(one, dtype=dtype) for one in (to_weight_TS, to_first)]
        torch._foreach_copy_([*cast, *parts], gradients)
        to_weight_TS, to_first = cast
    elif parts:
        torch._foreach_copy_(parts, to_later)
    return to_weight_TS, to_first, to_inner if to_later else None


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


def _filter_backward(plan: Plan, layer: int, kept: _Kept, to_h_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of what a layer's filters received, and of the filters."""
    stride = [plan.stride_of(layer)] * 2
    geometry = (None, stride, [1, 1], [1, 1], False, [0, 0], len(kept.filters), [True, True, False])
    to_given_BCHW, to_filters, _ = torch.ops.aten.convolution_backward(
        to_h_BCHW, kept.given_BCHW, kept.filters, *geometry
    )
    return to_given_BCHW, to_filters
