"""Which network."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from dnw.config.user_class import Options
from dnw.ranges import STRICT
from shards.user_class.names import is_user_class, written

GRAPHS = frozenset({"mobilenet", "static", "discrete", "continuous"})
RESNETS = frozenset({"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"})
NETWORKS = frozenset({*GRAPHS, "mobilenet_v1", *RESNETS})  # and any of:
LIBRARIES = ("torchvision/", "timm/")


def _named(name: str) -> str:
    if not name.startswith(LIBRARIES) and (instead := written(name)):
        raise ValueError(instead)
    return name


def is_known(name: str) -> bool:
    """Return whether there may be a network of that name: of this project, a library or the user's own."""
    return name in NETWORKS or name.startswith(LIBRARIES) or is_user_class(name)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    """Which network: one of the paper's, or any of torchvision's and timm's (dnw/models/)."""

    # see NETWORKS; or torchvision/NAME, timm/NAME; or a class of the user's own (docs/extending.md)
    name: Annotated[str, AfterValidator(_named)]
    options: Options = dataclasses.field(default_factory=dict)  # what that class is built with besides
    small: bool = False  # MobileNetV1-like only: wire the classifier too
    channels_last: bool = False  # memory format of a network that isn't a graph; graphs have their own
