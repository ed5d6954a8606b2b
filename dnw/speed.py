"""How fast a network answers on this machine, and how much memory that takes."""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

BATCHES = (1, 32)  # images at once
ENOUGH_S = 1.0  # of measuring at one batch size
LEAST = 3  # measurements


@dataclasses.dataclass(frozen=True)
class Speed:
    """The time that one network takes, and the memory."""

    ms_per_image: dict[int, float]  # by batch size: the median
    peak_memory_mib: float  # of this process so far; on a GPU, of what torch holds there


@torch.no_grad()
def measure(
    run: Callable[[Tensor], Tensor], image_size: int, device: torch.device, most: int = BATCHES[-1]
) -> Speed:
    """Time a network on images of noise. The first call of each batch size, which may compile, isn't counted.

    Args:
        run: maps normalized images [B, 3, H, W] to logits [B, classes].
        image_size: H and W, in pixels.
        device: where the images are.
        most: images at once, for which there is memory.
    """
    draw = torch.Generator().manual_seed(0)
    found = {}
    for batch in sorted({min(batch, most) for batch in BATCHES}):
        images_BCHW = torch.randn(batch, 3, image_size, image_size, generator=draw).to(device)
        _seconds(run, images_BCHW)
        seconds: list[float] = []
        while len(seconds) < LEAST or sum(seconds) < ENOUGH_S:
            seconds.append(_seconds(run, images_BCHW))
        found[batch] = round(1e3 * statistics.median(seconds) / batch, 4)
    return Speed(found, round(_peak_mib(device), 1))


def _seconds(run: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> float:
    began_s = time.perf_counter()
    logits_BK = run(images_BCHW)
    logits_BK[0, 0].item()  # a GPU answers when it has computed
    return time.perf_counter() - began_s


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
