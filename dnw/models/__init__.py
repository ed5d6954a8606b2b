"""The networks that can be wired."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dnw import user_classes
from dnw.config import GRAPHS, RESNETS, Train
from dnw.models.discrete import Discrete
from dnw.models.graph import channels_last
from dnw.models.mobilenet import MobileNet
from dnw.models.mobilenet_v1 import MobileNetV1
from dnw.models.static import Static
from dnw.wiring.network import wire_network
from shards.user_class.names import is_user_class

__all__ = ["Discrete", "MobileNet", "MobileNetV1", "Static", "build"]

_NETWORKS: dict[str, Callable[[Train], nn.Module]] = {
    "static": Static,
    "discrete": Discrete,
    "mobilenet": MobileNet,
    "mobilenet_v1": MobileNetV1,
}


def build(train: Train) -> nn.Module:
    """Build the network of a run on the CPU, weights drawn and edges chosen.

    It maps normalized images [B, 3, H, W] to logits [B, classes]. The result is a function of `train`; the
    global random state is left as it was. Weights start as torch's layers do by default, as in the paper's
    code, or as a network of its own kind says.
    Raises ConfigError if the width or the image size doesn't fit the network, there is none of that name, or
    a setting names a layer that it doesn't have.
    """
    user_classes.check_fingerprint(train)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(train.seed)  # torch.manual_seed would reseed GPUs too
        model = _network(train)
    if train.model.name not in GRAPHS:  # graphs are wired as they are built
        wire_network(model, train)
    if train.model.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.register_forward_pre_hook(_channels_last_images)
    return model


def _network(train: Train) -> nn.Module:
    name = train.model.name
    if name in _NETWORKS:
        return _NETWORKS[name](train)
    if name == "continuous":
        from dnw.models.continuous import Continuous  # noqa: PLC0415  (brings scipy, a second)

        return Continuous(train)
    if name in RESNETS:
        from dnw.models.resnet import resnet  # noqa: PLC0415  (brings torchvision, seconds)

        return resnet(train)
    from dnw.models.library import library_network, user_network  # noqa: PLC0415

    return user_network(train) if is_user_class(name) else library_network(train)


def _channels_last_images(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(channels_last(x_BCHW) for x_BCHW in inputs)
