"""Which network."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from dnw.ranges import STRICT

GRAPHS = frozenset({"mobilenet", "static", "discrete", "continuous"})
RESNETS = frozenset({"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"})
NETWORKS = frozenset({*GRAPHS, "mobilenet_v1", *RESNETS})  # and any of:
LIBRARIES = ("torchvision/", "timm/")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    """Which network: one of the paper's, or any of torchvision's and timm's (dnw/models/)."""

    name: str  # see NETWORKS; or torchvision/NAME, timm/NAME
    small: bool = False  # MobileNetV1-like only: wire the classifier too
    channels_last: bool = False  # memory format of a network that isn't a graph; graphs have their own
