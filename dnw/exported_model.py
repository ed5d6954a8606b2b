"""A network from a file of dnw.export, ready for images.

Shapes: images_BCHW, [B, 3, image_size, image_size]; logits_BK.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dnw import model_file
from dnw.engines import Engine, build
from dnw.model_file import Card
from dnw.training.evaluation import Normalize


class Network:
    """An engine, and the card that says what it takes and gives."""

    def __init__(self, card: Card, engine: Engine) -> None:
        self.card = card
        self.engine = engine
        self._normalize = Normalize(card.mean, card.std, engine.device)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Map images to logits [B, classes], float32.

        Images are uint8 with colours from 0 to 255, or float32 and normalized by the card's mean and std.
        Raises ValueError for images of another size or type.
        """
        self._check(images_BCHW)
        if images_BCHW.dtype == torch.uint8:
            images_BCHW = self._normalize(images_BCHW)
        return self.engine(images_BCHW)

    def _check(self, images_BCHW: Tensor) -> None:
        size, short = self.card.image_size, self.card.resize
        if tuple(images_BCHW.shape[1:]) != (3, size, size):
            first = "" if short is None else f"scale the shorter side to {short} pixels, bilinear, then "
            raise ValueError(
                f"images must be [B, 3, {size}, {size}], got {list(images_BCHW.shape)}: "
                f"{first}cut {size}x{size} pixels out of the centre"
            )
        if images_BCHW.dtype not in (torch.uint8, torch.float32):
            raise ValueError(f"images must be uint8, or normalized and float32; got {images_BCHW.dtype}")


def load(path: Path, engine: str, threads: int | None, device: str) -> Network:
    """See dnw.load."""
    network, card = model_file.read(path)
    return Network(card, build(engine, network, card.image_size, threads, device=device))
