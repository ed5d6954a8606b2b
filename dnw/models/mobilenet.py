"""The MobileNetV1-like network: five blocks of channels joined by a wiring (paper, experiments on ImageNet).

Shapes: x_BCHW feature maps, logits_BK. Module names are those of the paper's code, so that its checkpoints
map one to one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnw.config import Train
from dnw.models.block_function import Plan, block
from dnw.models.graph import Graph, channels_last
from dnw.models.norm_relu import norm_relu
from dnw.wiring import Layout

# inputs, outputs, stride, depth
BLOCKS = ((32, 64, 1, 1), (64, 128, 2, 2), (128, 256, 2, 2), (256, 512, 2, 6), (512, 1024, 2, 2))
FEATURES = BLOCKS[-1][1]


def stem_stride(image_size: int) -> int:
    """Return the stride of the first convolution: small images keep their resolution."""
    return 1 if image_size <= 64 else 2


class MobileNet(nn.Module):
    """First convolution, five blocks, norm, mean over the pixels, classifier."""

    def __init__(self, train: Train) -> None:
        super().__init__()
        stride = stem_stride(train.data.image_size)
        self.conv1 = nn.Conv2d(3, BLOCKS[0][0], kernel_size=3, stride=stride, padding=1, bias=False)
        self.layers = nn.Sequential(
            *(MobileNetBlock(train, number, *block) for number, block in enumerate(BLOCKS))
        )
        self.bn = nn.BatchNorm2d(FEATURES)
        self.linear = _wired_classifier(train) if train.model.small else _classifier(train)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalized images [B, 3, H, W] to logits [B, classes]."""
        x_BCHW = self.layers(self.conv1(channels_last(x_BCHW)))
        logits_BK: Tensor = self.linear(norm_relu(self.bn, x_BCHW).mean((2, 3)))
        return logits_BK


class MobileNetBlock(nn.Module):
    """A graph of `depth` layers of `outputs` nodes each, the last of them given out as received."""

    def __init__(self, train: Train, number: int, inputs: int, outputs: int, stride: int, depth: int) -> None:
        super().__init__()
        inner = depth - 1
        self.downsample = nn.Sequential(_depthwise(inputs, stride))
        if inner:
            self.conv = _depthwise(outputs * inner)
        self.norm = nn.ModuleList(nn.BatchNorm2d(nodes) for nodes in (inputs, *[outputs] * inner))
        layers = (inputs, *[outputs] * depth)
        layout = Layout(layers, rows=outputs * depth, columns=inputs + outputs * inner, outputs=outputs)
        dense = inputs * outputs + inner * outputs * outputs
        self.graph = Graph(train, number, layout, dense=dense, power=2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        if not (self.training and torch.is_grad_enabled()):
            return self.graph.propagate(x_BCHW, self._nodes)
        first = cast("nn.Conv2d", self.downsample[0])
        plan = Plan(self.graph.layout, first.stride[0], cast("list[nn.BatchNorm2d]", list(self.norm)))
        inner = self.conv.weight if len(self.norm) > 1 else None
        return block(plan, x_BCHW, self.graph.weight.flatten(1), first.weight, inner)

    def _nodes(self, layer: int, x_BCHW: Tensor) -> Tensor:
        x_BCHW = F.relu(self.norm[layer](x_BCHW))
        if layer == 0:
            strided_BCHW: Tensor = self.downsample(x_BCHW)
            return strided_BCHW
        channels = x_BCHW.shape[1]
        filters = self.conv.weight[(layer - 1) * channels : layer * channels]
        return F.conv2d(x_BCHW, filters, padding=1, groups=channels)


def _depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, groups=channels, bias=False)


def _classifier(train: Train) -> nn.Linear:
    return nn.Linear(FEATURES, train.data.classes)


def _wired_classifier(train: Train) -> nn.Sequential:
    classes = train.data.classes
    layout = Layout((FEATURES, classes), rows=classes, columns=FEATURES, outputs=classes)
    wired = Graph(train, len(BLOCKS), layout, dense=FEATURES * classes, power=1)
    parts = {"unflatten": nn.Unflatten(1, (FEATURES, 1, 1)), "graph": wired, "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts))
