"""The tiny static network: a graph of 800 channels between a small stem and the classifier (paper, table 1).

Shapes: x_BCHW feature maps, logits_BK. Module names are those of the paper's code, so that its checkpoints
map one to one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dnw.config import ConfigError, Train
from dnw.models.graph import Graph, channels_last
from dnw.wiring import Layout

LAYERS = (32, 192, 192, 192, 192)
NODES = sum(LAYERS)
FEATURES = 100  # the last nodes are read
SMALLEST_IMAGE = 16


class Static(nn.Module):
    """Stem, five layers of nodes, mean over four pixels, classifier."""

    def __init__(self, train: Train) -> None:
        """Raises ConfigError for images that the stem would shrink to less than 4x4 pixels."""
        super().__init__()
        if train.data.image_size < SMALLEST_IMAGE:
            raise ConfigError(
                f"data.image_size: must be at least {SMALLEST_IMAGE} for the static network "
                f"(got {train.data.image_size})"
            )
        self.downsample = _stem(LAYERS[0])
        self.conv = nn.Conv2d(NODES, NODES, kernel_size=3, padding=1, groups=NODES, bias=False)
        layout = Layout(LAYERS, rows=NODES, columns=NODES, outputs=FEATURES)
        self.graph = Graph(train, 0, layout, dense=NODES * NODES, power=1)
        self.norm = nn.ModuleList(nn.InstanceNorm2d(nodes, affine=True) for nodes in LAYERS)
        self.fc = nn.Linear(FEATURES, train.data.classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalized images [B, 3, H, W] to logits [B, classes].

        Four pixels up and left of the centre are read: what is left of the paper's 3x3 window when its code
        pools it by two.
        """
        corner = x_BCHW.shape[-1] // 8 - 2
        x_BCHW = self.graph.propagate(self.downsample(channels_last(x_BCHW)), self._nodes)
        read_BCHW = x_BCHW[:, :, corner : corner + 2, corner : corner + 2]
        logits_BK: Tensor = self.fc(read_BCHW.mean((2, 3)))
        return logits_BK

    def _nodes(self, layer: int, x_BCHW: Tensor) -> Tensor:
        start, stop = self.graph.layout.spans[layer]
        x_BCHW = F.relu(self.norm[layer](x_BCHW))
        return F.conv2d(x_BCHW, self.conv.weight[start:stop], padding=1, groups=stop - start)


def _stem(channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(3, half, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, half, kernel_size=3, stride=2, padding=1, groups=half),
        nn.Conv2d(half, channels, kernel_size=1),
        nn.BatchNorm2d(channels),
    )
