"""Accuracy of a network over a validation split, every sample counted exactly once.

python -m dnw.evaluate runs/static_dnw/default-0123456789
python -m dnw.evaluate runs/static_dnw/default-0123456789/checkpoints/best.pt
python -m dnw.evaluate dnw_x225.pt engine=native --data data/imagenet
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dnw.checkpoint import CheckpointError
from dnw.config import ConfigError, Precision, Train
from dnw.data import Batch, evaluation_batches, open_splits
from dnw.distributed import ALONE, World
from dnw.engines import NAMES, build
from dnw.precision import autocast, configure
from dnw.profile import profile
from dnw.speed import Speed, measure
from dnw.trained import trained
from shards.errors import ShardError


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Over all samples of a split."""

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
        return images_BCHW.float().mul_(self._scale).add_(self._shift)


def summable(loss: torch.Tensor) -> torch.Tensor:
    """Nats, float64, rounded to multiples of 2^-20: sums below 2^33 are exact then, in any order."""
    return loss.mul(2**20).round_().div_(2**20)


@torch.no_grad()
def evaluate(
    run: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[Batch],
    normalize: Normalize,
    world: World,
    precision: Precision = "fp32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Accuracy:
    """Count over the batches of all ranks; sums and counts are added up, not means, and exactly.

    `run` maps normalized images to logits: an engine, or a network, which is put into evaluation.
    `should_stop` is asked before each batch, equally often on every rank.

    Raises:
        Interrupted: it said so.
    """
    if isinstance(run, nn.Module):
        run.eval()
    sums = torch.zeros(4, dtype=torch.float64, device=world.device)  # samples, top-1, top-5, loss
    for images_BCHW, labels_B, _ in batches:
        if should_stop():
            raise Interrupted
        if len(labels_B) == 0:
            continue
        targets_B = labels_B.to(world.device, non_blocking=True)
        with autocast(precision, world.device):
            logits_BK = run(normalize(images_BCHW.to(world.device, non_blocking=True)))
        hits_B5 = logits_BK.topk(min(5, logits_BK.shape[1])).indices == targets_B[:, None]
        loss = F.cross_entropy(logits_BK.float(), targets_B, reduction="sum")
        count = torch.full_like(targets_B[0], len(labels_B))  # made on the device: a copy to it would wait
        sums += torch.stack([count, hits_B5[:, 0].sum(), hits_B5.sum(), summable(loss.double())])
    samples, top1, top5, loss_sum = world.sum(sums).tolist()
    return Accuracy(int(samples), 100 * top1 / samples, 100 * top5 / samples, loss_sum / samples)


def main(arguments: list[str] | None = None) -> int:
    """Print the accuracy of a trained network, its speed here and its cost, as lines or as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m dnw.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", type=Path, help="a run folder (its newest checkpoint) or a checkpoint file")
    engines = ", ".join(NAMES)
    parser.add_argument(
        "engine", type=_engine_name, nargs="?", metavar="engine=NAME", help=f"one of {engines}"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the shards are, if not data.dir")
    devices = ("cuda", "cpu") if torch.cuda.is_available() else ("cpu",)
    parser.add_argument("--device", choices=devices, default=devices[0], help="where [%(default)s]")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    try:
        train, model, step = trained(options.path)
        if options.data is not None:
            train = dataclasses.replace(train, data=dataclasses.replace(train.data, dir=options.data))
        costs = profile(model, train.data.image_size)
        found = _on_this_machine(train, model, options.engine, torch.device(options.device))
    except (ConfigError, CheckpointError, ShardError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        facts = {"params": costs.params, "macs": costs.macs, **dataclasses.asdict(found.speed)}
        facts |= {"images_per_second": found.images_per_second, "engine": options.engine}
        print(json.dumps({"step": step, **dataclasses.asdict(found.accuracy), **facts}))
    else:
        print(f"{options.path} at step {step}: {found.told()}")
        print(f"{costs.params:,} parameters, {costs.macs:,} multiply-adds per image of {costs.image_size} px")
    return 0


@dataclasses.dataclass(frozen=True)
class _Found:
    accuracy: Accuracy
    speed: Speed
    images_per_second: float  # decoding included

    def told(self) -> str:
        accuracy, speed = self.accuracy, self.speed
        times = ", ".join(f"{ms:.2f} ms at batch {batch}" for batch, ms in speed.ms_per_image.items())
        return (
            f"top-1 {accuracy.top1:.2f} %, top-5 {accuracy.top5:.2f} %, "
            f"loss {accuracy.loss:.4f} over {accuracy.samples} images\n"
            f"per image {times}; {self.images_per_second:,.0f} images/s, decoding included; "
            f"peak memory {speed.peak_memory_mib:,.0f} MiB"
        )


def _engine_name(word: str) -> str:
    key, _, name = word.partition("=")
    if key != "engine" or name not in NAMES:
        raise argparse.ArgumentTypeError(f"{word!r}: engine=NAME, with one of {', '.join(NAMES)}")
    return name


def _on_this_machine(train: Train, model: nn.Module, engine: str | None, device: torch.device) -> _Found:
    """The accuracy on the validation split, and how fast. Raises ConfigError where an engine can't do it."""
    run: Callable[[torch.Tensor], torch.Tensor]
    precision: Precision = train.precision if engine is None else "fp32"  # an engine has its own
    configure(precision)
    if engine is None:
        run = model.to(device).eval()
    else:
        try:
            run = build(engine, model, train.data.image_size, train.threads, device=device)
        except (TypeError, ValueError, ImportError) as error:
            raise ConfigError(str(error)) from error
    _, val = open_splits(train.data)
    began_s = time.monotonic()
    accuracy = evaluate(
        run,
        evaluation_batches(train, val, 0, 1),
        Normalize(train.data.mean, train.data.std, device),
        dataclasses.replace(ALONE, device=device),
        precision,
    )
    seconds = time.monotonic() - began_s
    with autocast(precision, device):
        speed = measure(run, train.data.image_size, device)
    return _Found(accuracy, speed, round(accuracy.samples / seconds, 1))


if __name__ == "__main__":
    sys.exit(main())
