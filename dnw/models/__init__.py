"""The networks that can be wired."""

from __future__ import annotations

import torch

from dnw.config import Train
from dnw.models.mobilenet import MobileNet
from dnw.models.static import Static

__all__ = ["MobileNet", "Static", "build"]


def build(train: Train) -> MobileNet | Static:
    """Build the network of a run on the CPU, weights drawn and edges chosen.

    The result is a function of `train`; the global random state is left as it was. Weights start as torch's
    layers do by default, as in the paper's code.
    Raises ConfigError if the width or the image size doesn't fit the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(train.seed)  # torch.manual_seed would reseed GPUs too
        return Static(train) if train.model.name == "static" else MobileNet(train)
