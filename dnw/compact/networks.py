"""The paper's networks in compact form, with all their nodes and in double precision.

BatchNorm in evaluation is scale and shift. Whatever a norm reads is the sum of a matrix product or of the
first convolution, and nobody else reads it: so the scale becomes part of that matrix, the shift its bias.

Shapes: as in dnw/compact/form.py; weight_TS a matrix of edges, zero where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dnw.compact.form import Compact, CompactBlock, CompactNodes, Head, InstanceNorm, Stem, Sums
from dnw.models.graph import Graph
from dnw.models.mobilenet import MobileNet, MobileNetBlock
from dnw.models.static import Static


def can_compact(model: nn.Module) -> bool:
    """Whether a network has a compact form."""
    return isinstance(model, MobileNet | Static)


def describe(model: nn.Module, image_size: int) -> Compact:
    """Bring `model` as it evaluates images of image_size x image_size pixels into compact form.

    Raises TypeError for a network that isn't a MobileNetV1-like or the static one.
    """
    if isinstance(model, MobileNet):
        return _mobilenet(model, image_size)
    if isinstance(model, Static):
        return _static(model, image_size)
    raise TypeError(
        f"{type(model).__name__} has no compact form, only MobileNet and Static have; take the engine 'dense'"
    )


def _mobilenet(model: MobileNet, image_size: int) -> Compact:
    blocks = [block for block in model.layers if isinstance(block, MobileNetBlock)]
    stem = _convolution(model.conv1, _Affine(blocks[0].norm[0]))
    side = _strided(image_size, stem.stride)
    described = []
    for block, following in zip(blocks, [*(block.norm[0] for block in blocks[1:]), model.bn], strict=True):
        side = _strided(side, _stride(block.downsample[0]))
        described.append(_mobilenet_block(block, _Affine(following), side))
    head = Head(rectified=True, corner=0, window=side, **_classifier(model.linear))
    return Compact(image_size, stem, tuple(described), head)


def _mobilenet_block(block: MobileNetBlock, following: _Affine, side: int) -> CompactBlock:
    layout = block.graph.layout
    inputs = block.downsample[0]
    layers = [CompactNodes(_filters(inputs), _stride(inputs))]
    if len(layout.source_spans) > 1:
        filters = _filters(block.conv).split(layout.outputs)
        layers += [CompactNodes(filters_NHW, 1) for filters_NHW in filters]
    norms = [*(_Affine(norm) for norm in block.norm[1:]), following]
    return CompactBlock(tuple(layers), _sums(block.graph, norms), side)


def _static(model: Static, image_size: int) -> Compact:
    first, first_norm, _, filters, mix, norm = model.downsample
    assert isinstance(filters, nn.Conv2d)
    assert isinstance(mix, nn.Conv2d)
    layout = model.graph.layout
    half = _strided(image_size, 2)
    side = _strided(half, 2)
    mixed = _Affine(norm)
    mix_TS = _double(mix.weight).flatten(1)
    received_T = mix_TS @ _double(filters.bias) + _double(mix.bias)
    sums = sparse(mixed.scale[:, None] * mix_TS, mixed.scale * received_T + mixed.shift)
    stem = _convolution(first, _Affine(first_norm))
    reduced = CompactBlock((CompactNodes(_filters(filters), 2),), (sums,), side)
    by_layer = _filters(model.conv).split(layout.layers)
    layers = (
        CompactNodes(part, 1, _instance_norm(norm)) for part, norm in zip(by_layer, model.norm, strict=True)
    )
    graph = CompactBlock(tuple(layers), _sums(model.graph, [None] * len(layout.layers)), side)
    corner = side // 2 - 2  # as dnw.models.tiny.read
    head = Head(rectified=False, corner=corner, window=2, **_classifier(model.fc))
    return Compact(image_size, stem, (reduced, graph), head)


class _Affine:
    """BatchNorm in evaluation: x * scale + shift."""

    def __init__(self, norm: nn.Module) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.scale = _double(norm.weight) / (_double(norm.running_var) + norm.eps).sqrt()
        self.shift = _double(norm.bias) - _double(norm.running_mean) * self.scale


def _sums(graph: Graph, norms: Sequence[_Affine | None]) -> tuple[Sums, ...]:
    """Return what later layers and the outputs receive, each ready for the norm that reads it."""
    layout = graph.layout
    weight_TS = _double(graph.weight).flatten(1)
    inner = layout.source_spans[1:]
    rows = [(start - layout.first_target, stop - layout.first_target, start) for start, stop in inner]
    rows.append((layout.rows - layout.outputs, layout.rows, layout.columns))
    return tuple(
        _sum(weight_TS[start:stop, :columns], norm)
        for (start, stop, columns), norm in zip(rows, norms, strict=True)
    )


def _sum(weight_TS: Tensor, norm: _Affine | None) -> Sums:
    if norm is None:
        return sparse(weight_TS, weight_TS.new_zeros(len(weight_TS)))
    return sparse(norm.scale[:, None] * weight_TS, norm.shift)


def sparse(weight_TS: Tensor, bias_T: Tensor) -> Sums:
    """Return sums over the entries of a matrix that aren't zero."""
    targets_E, sources_E = weight_TS.nonzero(as_tuple=True)
    counts = torch.bincount(targets_E, minlength=len(weight_TS))
    return Sums(
        columns=weight_TS.shape[1],
        starts=torch.cat((counts.new_zeros(1), counts.cumsum(0))).int(),
        sources=sources_E.int(),
        weights=weight_TS[targets_E, sources_E],
        bias=bias_T,
        mapped=torch.empty(0, dtype=torch.int32),
        maps=weight_TS.new_empty(0, 0, 0),
    )


def _convolution(conv: nn.Module, norm: _Affine) -> Stem:
    assert isinstance(conv, nn.Conv2d)
    filters_NCHW = norm.scale[:, None, None, None] * _double(conv.weight)
    bias_N = norm.shift
    if conv.bias is not None:
        bias_N = bias_N + norm.scale * _double(conv.bias)
    return Stem(filters_NCHW, bias_N, _stride(conv))


def _instance_norm(norm: nn.Module) -> InstanceNorm:
    assert isinstance(norm, nn.InstanceNorm2d)
    return InstanceNorm(_double(norm.weight), _double(norm.bias), norm.eps)


def _classifier(layer: nn.Module) -> dict[str, Tensor]:
    if isinstance(layer, nn.Linear):
        return {"weight": _double(layer.weight), "bias": _double(layer.bias)}
    graph = layer.get_submodule("graph")
    assert isinstance(graph, Graph)
    weight_KN = _double(graph.weight).flatten(1)
    return {"weight": weight_KN, "bias": weight_KN.new_zeros(len(weight_KN))}


def _filters(conv: nn.Module) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    return _double(conv.weight).squeeze(1)


def _double(parameter: Tensor | None) -> Tensor:
    assert parameter is not None
    return parameter.detach().cpu().double()


def _stride(conv: nn.Module) -> int:
    assert isinstance(conv, nn.Conv2d)
    return conv.stride[0]


def _strided(side: int, stride: int) -> int:
    return -(-side // stride)
