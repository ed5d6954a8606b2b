"""Reduce a trained network to the parts that affect its output."""

from __future__ import annotations

import torch
from torch import nn

from dnw.compact.constants import fold_constants
from dnw.compact.form import Compact
from dnw.compact.networks import describe
from dnw.compact.unread import remove_unread
from dnw.profile.image import evaluating


def compact(model: nn.Module, image_size: int) -> Compact:
    """Bring a network as it evaluates images of image_size x image_size pixels into compact form.

    Nodes that nobody reads are gone; those that no image reaches have become biases, exactly; BatchNorm has
    become part of the weights. The model stays as it is. Raises TypeError for a network that isn't a
    MobileNetV1-like or the static one.
    """
    with evaluating(model):
        network = describe(model, image_size)
        return remove_unread(fold_constants(network)).to(dtype=torch.float32)
