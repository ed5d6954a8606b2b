"""Any classifier of torchvision and timm, untrained, or of the user's own.

Shapes: x_BCHW images, logits_BK.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from dnw import model_registry, user_classes
from dnw.config import ConfigError, Train
from dnw.models.torchvision_cpu import torchvision


def library_network(train: Train) -> nn.Module:
    """Build the network that `train.model.name` names as torchvision/NAME or timm/NAME, for these images.

    Networks with classifiers on the way (googlenet, inception_v3) are built without these.

    Raises:
        ConfigError: there is no such network, it can't take images of this size, or it doesn't give out
            logits [B, classes].
    """
    model_registry.check(train)
    library, _, name = train.model.name.partition("/")
    build = _from_torchvision if library == "torchvision" else _from_timm
    return _checked(train, lambda: build(name, train.data.image_size, train.data.classes))


def user_network(train: Train) -> nn.Module:
    """Build the network that is a class of the user's own: CLASS(classes, **model.options).

    Raises:
        ConfigError: it fails, or doesn't give out logits [B, classes].
    """
    classes, given = train.data.classes, {"image_size": train.data.image_size}
    model = user_classes.build(train, "model.name", classes, given=given)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model={train.model.name}: must be derived from torch.nn.Module")
    for size in _sizes(train):
        user_classes.call(train, "model.name", partial(_output, model, size))
    return _checked(train, lambda: model)


def _checked(train: Train, build: Callable[[], nn.Module]) -> nn.Module:
    size, setting = train.data.image_size, "data.image_size"
    try:
        model = build()
        for size, setting in _sizes(train).items():  # noqa: B007  (told of, if it fails)
            output = _output(model, size)
    except (AssertionError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(
            f"model.name: {train.model.name} can't be built for images of {size}x{size} pixels "
            f"({str(error) or type(error).__name__}): set another {setting}, or choose another network"
        ) from error
    if not isinstance(output, torch.Tensor) or output.shape != (1, train.data.classes):
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ConfigError(
            f"model.name: {train.model.name} gives out {found} for one image where logits of shape "
            f"(1, {train.data.classes}) are needed: choose a classifier"
        )
    return model


def _from_torchvision(name: str, size: int, classes: int) -> nn.Module:
    settings: dict[str, Any] = {}
    if name.startswith("vit_"):
        settings["image_size"] = size
    elif name.startswith("maxvit_"):
        settings["input_size"] = (size, size)
    elif name in {"googlenet", "inception_v3"}:
        settings.update(aux_logits=False, init_weights=True)
    model: nn.Module = torchvision().models.get_model(name, weights=None, num_classes=classes, **settings)
    return model


def _from_timm(name: str, size: int, classes: int) -> nn.Module:
    torchvision()  # timm imports it, too
    import timm  # noqa: PLC0415  (slow to import)

    known = timm.models.get_pretrained_cfg(name)
    settings: dict[str, Any] = {"num_classes": classes}
    if known is not None and known.fixed_input_size:
        settings["img_size"] = size
    model: nn.Module = timm.create_model(name, pretrained=False, **settings)
    return model


def _sizes(train: Train) -> dict[int, str]:
    """Return the sizes of images that a run has, each with the setting that asks for it."""
    asked = [(train.data.image_size, "data.image_size"), (train.data.test_size, "data.eval_size")]
    asked += [(size, "augment.sizes") for _, size in train.augment.sizes]
    return dict(reversed(asked))


@torch.no_grad()
def _output(model: nn.Module, size: int) -> object:
    was_training = model.training
    output = model.eval()(torch.zeros(1, 3, size, size))
    model.train(was_training)
    return output
