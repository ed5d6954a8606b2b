"""The network as it was trained, with its edges baked into plain weights: no mask is applied any more."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dnw.engines.engine import CPU
from dnw.hardware.precision import autocast
from dnw.wiring import edges_of


class Dense:
    """A copy of a network of any kind, in evaluation."""

    def __init__(
        self, model: nn.Module, precision: Literal["fp32", "bf16"], device: torch.device = CPU
    ) -> None:
        self._model = copy.deepcopy(model).to(device).eval().requires_grad_(False)
        self._precision = precision
        for module, _ in edges_of(self._model).values():
            _bake(module)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Map images to logits, float32."""
        with autocast(self._precision, images_BCHW.device):
            logits_BK: Tensor = self._model(images_BCHW)
        return logits_BK.float()


def _bake(module: nn.Module) -> None:
    """Make the effective weight an ordinary one.

    torch's remove_parametrizations would take it from the class too, which the copied module shares.
    """
    assert isinstance(module.weight, Tensor)
    weight = module.weight.detach().clone()
    del module.parametrizations
    module.__class__ = parametrize.type_before_parametrizations(module)
    module.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
