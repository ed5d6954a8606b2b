"""The tiny network in discrete time: five steps, in each of which every node feeds all (paper, table 1).

Shapes: x_BCHW feature maps, logits_BK.
"""

from __future__ import annotations

from torch import Tensor, nn

from dnw.config import Train
from dnw.models.graph import channels_last
from dnw.models.recurrent import RecurrentNodes
from dnw.models.tiny import FEATURES, INPUTS, read, stem

STEPS = 5


class Discrete(RecurrentNodes):
    """Stem, five steps of the nodes, mean over four pixels, classifier."""

    def __init__(self, train: Train) -> None:
        """Build the network; refuse images that the stem would shrink to less than 4x4 (ConfigError)."""
        super().__init__(train)
        self.downsample = stem(train)
        self.fc = nn.Linear(FEATURES, train.data.classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalized images [B, 3, H, W] to logits [B, classes]."""
        weight_TS = self.graph.weight.flatten(1)
        x_BCHW = self.downsample(channels_last(x_BCHW))
        x_BCHW = self.apply_once(x_BCHW, weight_TS[:, :INPUTS])  # the other nodes have nothing to give yet
        for _ in range(STEPS - 2):
            x_BCHW = self.apply_once(x_BCHW, weight_TS)
        x_BCHW = self.apply_once(x_BCHW, weight_TS[-FEATURES:])  # nobody reads the other nodes any more
        logits_BK: Tensor = self.fc(read(x_BCHW))
        return logits_BK
