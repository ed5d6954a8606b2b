"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861): the paper's baseline, thinned by a width multiplier.

Shapes: x_BCHW feature maps, logits_BK. Module names are those of the paper's code.
"""

from __future__ import annotations

import math
from fractions import Fraction

from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.models.mobilenet import stem_stride
from dnw.models.norm_relu import norm_relu

STEM = 32
# outputs, stride
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *[(512, 1)] * 5,
    *((1024, 2), (1024, 1)),
)


class MobileNetV1(nn.Module):
    """First convolution, thirteen pairs of a depthwise and a 1x1 convolution, mean, classifier."""

    def __init__(self, train: Train) -> None:
        """Build the network; refuse a width that leaves the first convolution no channels (ConfigError)."""
        super().__init__()
        channels = [_thinned(full, train) for full, _ in ((STEM, 1), *BLOCKS)]
        stride = stem_stride(train.data.image_size)
        self.conv1 = nn.Conv2d(3, channels[0], kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        strides = (stride for _, stride in BLOCKS)
        self.layers = nn.Sequential(*map(SeparableBlock, channels[:-1], channels[1:], strides))
        self.linear = nn.Linear(channels[-1], train.data.classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalized images [B, 3, H, W] to logits [B, classes]."""
        x_BCHW = self.layers(norm_relu(self.bn1, self.conv1(x_BCHW)))
        logits_BK: Tensor = self.linear(x_BCHW.mean((2, 3)))
        return logits_BK


class SeparableBlock(nn.Module):
    """A filter for each channel, then a mixture of the channels; norm and ReLU after both."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        x_BCHW = norm_relu(self.bn1, self.conv1(x_BCHW))
        return norm_relu(self.bn2, self.conv2(x_BCHW))


def _thinned(channels: int, train: Train) -> int:
    assert train.width is not None  # dnw.config has seen to that
    left = math.floor(Fraction(str(train.width)) * channels)
    if left < 1:
        raise ConfigError(
            f"width: {train.width} leaves none of {channels} channels of model=mobilenet_v1: "
            f"take at least {1 / STEM}"
        )
    return left
