"""One image sent through a network, which is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def seeded_image(image_size: int, device: torch.device) -> Tensor:
    """Return an image of normal noise, [1, 3, H, W], always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, image_size, image_size, generator=generator).to(device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode without gradients; afterwards each module is in the mode it was in.

    In torch's inference mode, which it leaves for the while, products couldn't be watched.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training
