"""The tiny network in continuous time: the nodes are a differential equation (paper, table 1).

Shapes: x_BCHW feature maps; x_NC the same as N = B*H*W pixels of C channels; logits_BK.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchdiffeq import odeint

from dnw.config import Train
from dnw.models.graph import channels_last, maps, pixels
from dnw.models.recurrent import RecurrentNodes
from dnw.models.tiny import FEATURES, INPUTS, NODES, read, stem

TOLERANCE = 1e-3  # of the solver, absolute and relative


class Continuous(nn.Module):
    """Stem, the nodes' change integrated from time 0 to 1, mean over four pixels, classifier.

    The solver (Dormand-Prince, adaptive) chooses its steps by the error over the whole micro-batch, so an
    image's logits depend a little on those beside it. The paper's code rectifies what the solver holds as
    often as it asks for the change, an oversight that makes another network of the same weights: that is
    done with wiring.reference_quirks only.
    """

    evaluations: int  # of the nodes in the last forward: the cost varies with weights and images

    def __init__(self, train: Train) -> None:
        """Build the network; refuse images that the stem would shrink to less than 4x4 (ConfigError)."""
        super().__init__()
        self.downsample = stem(train)
        self.odesolve = nn.ModuleDict({"odefunc": RecurrentNodes(train)})
        self.fc = nn.Linear(FEATURES, train.data.classes)
        self.evaluations = 0
        self._rectifies = train.wiring.reference_quirks

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalized images [B, 3, H, W] to logits [B, classes]."""
        x_BCHW = self.downsample(channels_last(x_BCHW))
        size = x_BCHW.shape
        x_NC = F.pad(pixels(x_BCHW).float(), (0, NODES - INPUTS))
        read_BCHW = maps(self._integrated(x_NC, size)[:, -FEATURES:], size)
        logits_BK: Tensor = self.fc(read(read_BCHW))
        return logits_BK

    def _integrated(self, x_NC: Tensor, size: torch.Size) -> Tensor:
        nodes = self.odesolve["odefunc"]
        assert isinstance(nodes, RecurrentNodes)
        weight_TS = nodes.graph.weight.flatten(1)
        self.evaluations = 0

        def change(_: Tensor, x_NC: Tensor) -> Tensor:
            self.evaluations += 1
            if self._rectifies:
                x_NC.relu_()
            return pixels(nodes.apply_once(maps(x_NC, size), weight_TS)).float()

        times = torch.arange(2.0, device=x_NC.device)  # from 0 to 1; a copy to the device would wait
        solution: Tensor = odeint(change, x_NC, times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5")
        return solution[-1]
