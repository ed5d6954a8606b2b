"""The tiny static network: a graph of 800 channels between a small stem and the classifier (paper, table 1).

Shapes: x_BCHW feature maps, logits_BK.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dnw.config import Train
from dnw.models.graph import Graph, channels_last
from dnw.models.tiny import FEATURES, INPUTS, NODES, filters, read, stem
from dnw.wiring import Layout

LAYERS = (INPUTS, 192, 192, 192, 192)


class Static(nn.Module):
    """Stem, five layers of nodes, mean over four pixels, classifier."""

    def __init__(self, train: Train) -> None:
        """Build the network; refuse images that the stem would shrink to less than 4x4 (ConfigError)."""
        super().__init__()
        self.downsample = stem(train)
        self.conv = filters()
        layout = Layout(LAYERS, rows=NODES, columns=NODES, outputs=FEATURES)
        self.graph = Graph(train, 0, layout, dense=NODES * NODES, power=1)
        self.norm = nn.ModuleList(nn.InstanceNorm2d(nodes, affine=True) for nodes in LAYERS)
        self.fc = nn.Linear(FEATURES, train.data.classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalized images [B, 3, H, W] to logits [B, classes]."""
        x_BCHW = self.graph.propagate(self.downsample(channels_last(x_BCHW)), self._nodes)
        logits_BK: Tensor = self.fc(read(x_BCHW))
        return logits_BK

    def _nodes(self, layer: int, x_BCHW: Tensor) -> Tensor:
        start, stop = self.graph.layout.spans[layer]
        x_BCHW = F.relu(channels_last(self.norm[layer](x_BCHW)))
        return F.conv2d(x_BCHW, self.conv.weight[start:stop], padding=1, groups=stop - start)
