"""An engine: a function from images to logits, and what it was built for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Computes logits of normalized images, batches of any size, in either memory format."""

    name: str
    image_size: int
    threads: int | None  # None: as many as torch uses
    run: Callable[[Tensor], Tensor]
    device: torch.device = CPU

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Map normalized images, float32 [B, 3, image_size, image_size], to logits [B, classes], float32.

        Raises ValueError for images of another shape or type, or on another device.
        """
        self._check(images_BCHW)
        with torch.inference_mode(), _threads(self.threads), torch.cuda.device_of(images_BCHW):
            logits_BK = self.run(images_BCHW)
        return logits_BK.clone()  # an ordinary tensor, which may take part in autograd

    def _check(self, images_BCHW: Tensor) -> None:
        size = self.image_size
        if images_BCHW.ndim != 4 or images_BCHW.shape[1] != 3 or not len(images_BCHW):
            found = list(images_BCHW.shape)
            raise ValueError(f"images must be [B, 3, {size}, {size}] with B >= 1, got {found}")
        height, width = images_BCHW.shape[2:]
        if (height, width) != (size, size):
            raise ValueError(
                f"engine {self.name} was built for images of {size}x{size} pixels, got {height}x{width}: "
                f"resize them, or build another engine with image_size={height}"
            )
        if images_BCHW.device != self.device:
            raise ValueError(
                f"engine {self.name} was built for {self.device}, images are on {images_BCHW.device}"
            )
        if images_BCHW.dtype != torch.float32:
            raise ValueError(f"images must be normalized and float32, got {images_BCHW.dtype}")


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is None or number == before:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
