"""Accuracy of a network over a validation split: every sample is counted exactly once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from dnw.config import Precision
from dnw.hardware.precision import autocast
from dnw.training.data import Batch
from dnw.training.distributed import World


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Top-1, top-5 and loss over all samples of a split."""

    samples: int
    top1: float  # percent
    top5: float  # percent
    loss: float  # mean cross entropy, nats


class Interrupted(Exception):
    """The evaluation was given up because the run has to stop; it is repeated later."""


class Normalize(nn.Module):
    """From images_BCHW as loaded, uint8, to what a network takes: float32, mean 0, deviation 1."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        super().__init__()
        self._scale = 1 / (255 * torch.tensor(std, device=device).view(-1, 1, 1))
        self._shift = -torch.tensor(mean, device=device).view(-1, 1, 1) * 255 * self._scale

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Normalize one batch."""
        if images_BCHW.device.type == "cpu":  # where scaling plane by plane is faster
            images_BCHW = images_BCHW.contiguous()
        return images_BCHW.mul(self._scale).add_(self._shift)


def quantize_for_exact_sum(loss: torch.Tensor, count: int = 1) -> torch.Tensor:
    """Nats, float64, times `count`, in multiples of 2^-20: sums below 2^33 are exact then, in any order."""
    return loss.mul(count * 2**20).round_().div_(2**20)  # a power of two rounds nothing


Run = Callable[[torch.Tensor], torch.Tensor]


def evaluate(
    run: Run,
    batches: Iterable[Batch],
    normalize: Normalize,
    world: World,
    precision: Precision = "fp32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Accuracy:
    """Count correct answers over the batches of all ranks; sums are added up, not means, and exactly.

    Args:
        run: maps normalized images [B, 3, H, W] to logits [B, classes]: an engine, or a network, which is put
            into evaluation mode.
        batches: those of this rank, images as loaded.
        normalize: what is done to them first.
        world: the processes that take part; each has to call this.
        precision: that of matrix products and convolutions.
        should_stop: asked before each batch, equally often on every rank.

    Raises:
        Interrupted: `should_stop` returned True.
    """
    return evaluate_each([run], batches, normalize, world, precision, should_stop)[0]


@torch.no_grad()
def evaluate_each(
    runs: Sequence[Run],
    batches: Iterable[Batch],
    normalize: Normalize,
    world: World,
    precision: Precision = "fp32",
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Accuracy]:
    """Evaluate several networks on the same batches, which are loaded once; else as `evaluate`.

    Returns:
        the accuracy of each of `runs`, in their order.

    Raises:
        Interrupted: `should_stop` said so between two batches.
    """
    for run in runs:
        if isinstance(run, nn.Module):
            run.eval()
    # of each: samples, top-1, top-5, loss
    sums = [torch.zeros(4, dtype=torch.float64, device=world.device) for _ in runs]
    for images_BCHW, labels_B, _ in batches:
        if should_stop():
            raise Interrupted
        if len(labels_B) == 0:
            continue
        targets_B = labels_B.to(world.device, non_blocking=True)
        normalized_BCHW = normalize(images_BCHW.to(world.device, non_blocking=True))
        for number, run in enumerate(runs):
            with autocast(precision, world.device):
                logits_BK = run(normalized_BCHW)
            sums[number] += _counted(logits_BK, targets_B)
    return [_accuracy(world.sum(summed)) for summed in sums]


def _counted(logits_BK: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
    hits_B5 = logits_BK.topk(min(5, logits_BK.shape[1])).indices == targets_B[:, None]
    loss = F.cross_entropy(logits_BK.float(), targets_B, reduction="sum")
    count = torch.full_like(targets_B[0], len(targets_B))  # made on the device: a copy to it would wait
    return torch.stack([count, hits_B5[:, 0].sum(), hits_B5.sum(), quantize_for_exact_sum(loss.double())])


def _accuracy(sums: torch.Tensor) -> Accuracy:
    samples, top1, top5, loss_sum = sums.tolist()
    return Accuracy(int(samples), 100 * top1 / samples, 100 * top5 / samples, loss_sum / samples)
