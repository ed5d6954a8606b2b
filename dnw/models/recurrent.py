"""The nodes of the discrete and the continuous network: any feeds any other, all are applied at once.

Shapes: x_BCHW feature maps; weight_TS the graph, T targets (rows), S sources (columns).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dnw.config import Train
from dnw.models.graph import Graph, channels_last, mix
from dnw.models.tiny import FEATURES, INPUTS, NODES, filters
from dnw.wiring import Layout


class RecurrentNodes(nn.Module):
    """Of each of 800 nodes its filter and its norm; and the graph that joins them."""

    def __init__(self, train: Train) -> None:
        """Build the network; raise ConfigError if the width asks for more edges than there are."""
        super().__init__()
        self.conv = filters()
        layout = Layout((NODES,), rows=NODES, columns=NODES, outputs=FEATURES, image_inputs=INPUTS)
        self.graph = Graph(train, 0, layout, dense=NODES * NODES, power=1)
        self.norm = nn.InstanceNorm2d(NODES, affine=True)

    def apply_once(self, x_BCHW: Tensor, weight_TS: Tensor) -> Tensor:
        """ReLU, filter, edges, norm: from what the first S nodes held to what the last T hold, [B, T, H, W].

        `weight_TS` are the last rows and first columns of `graph.weight`, which the caller takes out once a
        forward, since each access masks the whole matrix.
        """
        targets, sources = weight_TS.shape
        x_BCHW = F.relu(channels_last(x_BCHW))
        x_BCHW = F.conv2d(x_BCHW, self.conv.weight[:sources], padding=1, groups=sources)
        return F.instance_norm(
            mix(x_BCHW, weight_TS), weight=self.norm.weight[-targets:], bias=self.norm.bias[-targets:]
        )
