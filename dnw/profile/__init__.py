"""What a network costs: parameters and multiply-adds as the paper counts them, and what of it is in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from dnw.models.mobilenet import MobileNet
from dnw.profile.costs import CostBlock, Profile
from dnw.profile.graphs import is_tiny, mobilenet_costs, repeats_of, tiny_costs
from dnw.profile.layers import layer_costs, weights_of
from dnw.wiring import Edges, edges_of

__all__ = ["CostBlock", "Profile", "counting", "profile"]


def profile(model: nn.Module, image_size: int) -> Profile:
    """Count the costs of `model` for images of image_size x image_size pixels; leaves it as it was.

    The paper gives its figures for 224 pixels, whatever the data. Graphs of channels are counted as in the
    paper (dnw/profile/graphs.py), any other network by its layers (dnw/profile/layers.py).
    """
    return counting(model, image_size)({path: edges for path, (_, edges) in edges_of(model).items()})


def counting(model: nn.Module, image_size: int) -> Callable[[Mapping[str, Edges]], Profile]:
    """Return what counts the costs of `model` from its wirings by path, or from copies of them.

    What has to be seen in the network at work is seen here. What is returned asks it for nothing but the
    shapes of its layers, so it may be called while the network is trained.
    """
    if isinstance(model, MobileNet):
        return partial(mobilenet_costs, model, image_size)
    if is_tiny(model):
        return partial(tiny_costs, model, image_size, repeats_of(model, image_size))
    return partial(layer_costs, weights_of(model, image_size), image_size)
