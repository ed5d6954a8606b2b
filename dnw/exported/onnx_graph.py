"""A compact network as an ONNX graph: sums as 1x1 convolutions, by dense matrices or of gathered sources.

Runtimes have no sparse product. But neighbouring targets with the same sources, as a wiring with blocks has
them, can be one small convolution of these sources alone. It costs a copy of them, so where few targets share
theirs the dense matrix is faster: `_Costs` decides for each sum.

Input "images", normalized, float32 [batch, 3, image_size, image_size]; output "logits", [batch, classes].
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from dnw.compact.form import Compact, CompactBlock, CompactNodes, Head, Stem, Sums
from dnw.exported.model_file import Card

OPSET = 17
_IR_VERSION = 8  # the one that opset came with: older runtimes read it


def onnx_model(network: Compact, card: Card) -> onnx.ModelProto:
    """Build and check the graph; the card goes into the metadata, as JSON values."""
    graph = _Graph()
    size = network.image_size
    if network.stem is None:
        logits = graph.constant_logits("images", network.head)
    else:
        x = graph.stem("images", network.stem)
        for block in network.blocks:
            x = graph.block(x, block)
        logits = graph.head(x, network.head)
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, size, size])]
    outputs = [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", len(network.head.bias)])]
    made = helper.make_graph(graph.operations, "dnw", inputs, outputs, graph.tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    facts = dataclasses.asdict(card).items()
    helper.set_model_props(model, {key: json.dumps(value) for key, value in facts})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Operations and tensors so far; each operation returns the name of its result."""

    def __init__(self) -> None:
        self.operations: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def stem(self, images: str, stem: Stem) -> str:
        return self._convolve(images, stem.filters, stem.bias, stride=stem.stride)

    def block(self, x: str, block: CompactBlock) -> str:
        given: list[str] = []
        for nodes, sums in zip(block.layers, block.sums, strict=True):
            given.append(self._nodes(x, nodes))
            together = given[0] if len(given) == 1 else self._add("Concat", given, axis=1)
            x = self._sums(together, sums, block.side**2)
        return x

    def head(self, x: str, head: Head) -> str:
        stop = head.corner + head.window
        bounds = ([head.corner] * 2, [stop] * 2, [2, 3])
        x = self._add("Slice", [x, *(self._tensor(np.array(bound, np.int64)) for bound in bounds)])
        if head.rectified:
            x = self._add("Relu", [x])
        features = self._add("ReduceMean", [x], axes=[2, 3], keepdims=0)
        classifier = [self._tensor(head.weight.numpy()), self._tensor(head.bias.numpy())]
        return self._add("Gemm", [features, *classifier], result="logits", transB=1)

    def constant_logits(self, images: str, head: Head) -> str:
        batch = self._add("Shape", [images], start=0, end=1)
        shape = self._add("Concat", [batch, self._tensor(np.array([len(head.bias)], np.int64))], axis=0)
        return self._add("Expand", [self._tensor(head.bias.numpy()), shape], result="logits")

    def _nodes(self, x: str, nodes: CompactNodes) -> str:
        if nodes.norm is not None:
            affine = [self._tensor(nodes.norm.scale.numpy()), self._tensor(nodes.norm.shift.numpy())]
            x = self._add("InstanceNormalization", [x, *affine], epsilon=nodes.norm.epsilon)
        filters = nodes.filters[:, None]
        return self._convolve(self._add("Relu", [x]), filters, None, stride=nodes.stride, groups=nodes.count)

    def _sums(self, given: str, sums: Sums, pixels: int) -> str:
        groups = _alike(sums)
        if _Costs.gathered_ns(sums, groups, pixels) < _Costs.dense_ns(sums, pixels):
            x = self._add("Concat", [self._gathered(given, sums, *group) for group in groups], axis=1)
        else:
            x = self._convolve(given, sums.dense()[:, :, None, None], sums.bias, pad=0)
        if not len(sums.mapped):
            return x
        maps_THW = np.zeros((sums.count, *sums.maps.shape[1:]), np.float32)
        maps_THW[sums.mapped.numpy()] = sums.maps.numpy()
        return self._add("Add", [x, self._tensor(maps_THW)])

    def _gathered(self, given: str, sums: Sums, first: int, stop: int) -> str:
        """Add up what the targets first..stop receive, which have the same sources."""
        begin, end = int(sums.starts[first]), int(sums.starts[stop])
        sources = sums.sources[begin : begin + (end - begin) // (stop - first)]
        read = self._add("Gather", [given, self._tensor(sources.long().numpy())], axis=1)
        weight = sums.weights[begin:end].view(stop - first, len(sources), 1, 1)
        return self._convolve(read, weight, sums.bias[first:stop], pad=0)

    def _convolve(
        self, x: str, weight: Tensor, bias: Tensor | None, *, stride: int = 1, groups: int = 1, pad: int = 1
    ) -> str:
        tensors = [self._tensor(tensor.numpy()) for tensor in (weight, bias) if tensor is not None]
        return self._add("Conv", [x, *tensors], strides=[stride] * 2, pads=[pad] * 4, group=groups)

    def _add(self, operation: str, inputs: list[str], *, result: str | None = None, **attributes: Any) -> str:
        name = result or f"{operation.lower()}_{len(self.operations)}"
        self.operations.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def _tensor(self, values: np.ndarray) -> str:
        name = f"tensor_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values, name))
        return name


class _Costs:
    """Nanoseconds that ONNX Runtime takes for the sums of one image, roughly.

    Set so that no wiring of bench/inference.py gets slower by it; OPERATION is several times what one alone
    takes.
    """

    PRODUCT = 0.024  # of a dense matrix, a multiply-add
    OPERATION = 8000.0  # two small ones
    READ, WRITTEN = 1.0, 3.0  # a pixel of a source that is gathered and multiplied, of a target

    @classmethod
    def dense_ns(cls, sums: Sums, pixels: int) -> float:
        return cls.PRODUCT * sums.count * sums.columns * pixels

    @classmethod
    def gathered_ns(cls, sums: Sums, groups: list[tuple[int, int]], pixels: int) -> float:
        starts = sums.starts.tolist()
        read: float = sum((starts[stop] - starts[first]) / (stop - first) for first, stop in groups)
        return cls.OPERATION * len(groups) + pixels * (cls.READ * read + cls.WRITTEN * sums.count)


def _alike(sums: Sums) -> list[tuple[int, int]]:
    """Return groups of neighbours with the same sources: the first target, and the one after the last."""
    rows = sums.sources.split(sums.starts.diff().tolist())
    firsts = [0, *(t for t in range(1, len(rows)) if not torch.equal(rows[t - 1], rows[t]))]
    return list(itertools.pairwise([*firsts, len(rows)]))
