"""What a network costs: parameters and multiply-adds as the paper counts them, and what of it is in use."""

from __future__ import annotations

from torch import nn

from dnw.models.mobilenet import MobileNet
from dnw.profile.costs import Block, Profile
from dnw.profile.graphs import is_tiny, mobilenet_costs, tiny_costs
from dnw.profile.layers import layer_costs

__all__ = ["Block", "Profile", "profile"]


def profile(model: nn.Module, image_size: int) -> Profile:
    """Count the costs of `model` for images of image_size x image_size pixels; leaves it as it was.

    The paper gives its figures for 224 pixels, whatever the data. Graphs of channels are counted as in the
    paper (dnw/profile/graphs.py), any other network by its layers (dnw/profile/layers.py).
    """
    if isinstance(model, MobileNet):
        return mobilenet_costs(model, image_size)
    if is_tiny(model):
        return tiny_costs(model, image_size)
    return layer_costs(model, image_size)
