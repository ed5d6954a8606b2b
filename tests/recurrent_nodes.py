"""The nodes of the recurrent networks, as the paper defines them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def step_by_step(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    """One application of all nodes of a recurrent network to all of them, as the paper defines it."""
    nodes = network.odesolve["odefunc"] if hasattr(network, "odesolve") else network
    return nodes.norm(F.conv2d(nodes.conv(x_BCHW.relu()), nodes.graph.weight))  # type: ignore[arg-type]


def nodes_at_the_start(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    return F.pad(network.downsample(x_BCHW), (0, 0, 0, 0, 0, 768))
