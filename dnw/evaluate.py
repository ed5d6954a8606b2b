"""Accuracy of a network over a validation split, every sample counted exactly once.

python -m dnw.evaluate runs/static_dnw/default-0123456789
python -m dnw.evaluate runs/static_dnw/default-0123456789/checkpoints/best.pt
python -m dnw.evaluate dnw_x225.pt engine=native --data data/imagenet
python -m dnw.evaluate runs/static_dnw/default-0123456789 weights=ema
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import get_args

import torch
from torch import nn

from dnw.config import ConfigError, Precision, Train
from dnw.engines import NAMES, build
from dnw.engines.building import Precision as EnginePrecision
from dnw.hardware import kernel_build, out_of_memory
from dnw.hardware.precision import autocast, configure
from dnw.profile import profile
from dnw.speed import Speed, measure
from dnw.splits import open_splits, other_images, unnamed
from dnw.training.checkpointed_model import chosen_weights, load_checkpointed_model
from dnw.training.data import evaluation_batches
from dnw.training.distributed import ALONE
from dnw.training.evaluation import Accuracy, Normalize, evaluate
from shards import command
from shards.errors import did_you_mean
from shards.files.folder_entries import matching
from shards.index import Index


@command.answers()
def main(arguments: list[str] | None = None) -> int:
    """Print the accuracy of a trained network, its speed here and its cost, as lines or as JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = dict(options.chosen)
    engine: str | None = chosen.get("engine")
    if "precision" in chosen and engine is None:
        parser.error("precision= is an engine's: add engine=native, or leave it out for the run's own")
    engine_precision: EnginePrecision = chosen.get("precision", "fp32")
    loaded = load_checkpointed_model(options.path, chosen.get("weights", "trained"))
    train, model, step = _as_asked(loaded.train, options), loaded.model, loaded.step
    is_named = options.data is not None
    _, val = open_splits(train.data, loaded.classes, loaded.noted, any_images=is_named)
    for note in filter(None, (unnamed(val, loaded.classes), other_images(train.data, val))):
        print(note, file=sys.stderr)
    costs = profile(model, train.data.test_size)
    found = _on_this_machine(train, model, val, engine, engine_precision, torch.device(options.device))
    if options.json:
        facts = {"params": costs.params, "macs": costs.macs, **dataclasses.asdict(found.speed)}
        facts |= {
            "images_per_second": found.images_per_second,
            "engine": engine,
            "precision": engine_precision if engine else train.precision,
        }
        print(json.dumps({"step": step, **dataclasses.asdict(found.accuracy), **facts}))
    else:
        print(f"{options.path} at step {step}: {found.told()}")
        print(f"{costs.params:,} parameters, {costs.macs:,} multiply-adds per image of {costs.image_size} px")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command.Parser(
        prog="python -m dnw.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path", type=command.path, help="a run folder (its newest checkpoint) or a checkpoint file"
    )
    parser.add_argument(
        "chosen",
        type=_choice,
        nargs="*",
        default=[],
        metavar="engine=NAME|precision=bf16|weights=ema",
        help=f"an engine, of {', '.join(NAMES)}, and its precision; the weights' average, not those trained "
        "last (optim.ema)",
    )
    parser.add_argument(
        "--data", type=command.path, metavar="FOLDER", help="the shards, if not those of data.dir"
    )
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device", type=_device, metavar="cuda|cpu", default=usual, help="where [%(default)s]"
    )
    parser.add_argument(
        "--batch", type=command.positive, metavar="N", help="images at once, if not the run's eval_batch"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    return parser


def _as_asked(train: Train, options: argparse.Namespace) -> Train:
    """Return the configuration with the images and the batch that were asked for."""
    if options.data is not None:
        has_shards = matching(options.data, "*.tar")  # else they are where the run has them
        url = "" if has_shards else train.data.url
        train = dataclasses.replace(train, data=dataclasses.replace(train.data, dir=options.data, url=url))
    return train if options.batch is None else dataclasses.replace(train, eval_batch=options.batch)


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


def _choice(word: str) -> tuple[str, str]:
    """Return a word as the setting and its value."""
    if word.startswith("weights="):
        return "weights", chosen_weights(word)
    if word.startswith("precision="):
        return "precision", _precision(word)
    return "engine", _engine_name(word)


def _precision(word: str) -> str:
    _, _, name = word.partition("=")
    if name not in get_args(EnginePrecision):
        known = ", ".join(get_args(EnginePrecision))
        raise argparse.ArgumentTypeError(f"no precision {name!r}; there are: {known}")
    return name


def _engine_name(word: str) -> str:
    key, _, name = word.partition("=")
    if word in NAMES:
        raise argparse.ArgumentTypeError(f"write it as engine={word}")
    if key != "engine":
        raise argparse.ArgumentTypeError(
            f"{word!r}: only engine=NAME, precision=bf16 and weights=ema can be chosen of a network"
        )
    if name not in NAMES:
        there = ", ".join(NAMES)
        raise argparse.ArgumentTypeError(f"no {name!r}{did_you_mean(name, NAMES)}; there are: {there}")
    return name


def _device(word: str) -> str:
    if word not in {"cuda", "cpu"}:
        raise argparse.ArgumentTypeError(f"no {word!r}; there are: cuda, cpu")
    if word == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch finds no GPU here; leave it out for the CPU")
    return word


def _what_would_fit(error: Exception, train: Train, device: torch.device) -> str:
    """Return what ran out, and what to type to need less."""
    batch = train.eval_batch
    less = out_of_memory.smaller(batch)
    fits = [f"--batch {less} (now {batch})"] if less else []
    if device.type != "cpu" and out_of_memory.lacking(error) == "device":
        fits.append("--device cpu")
    return f"{out_of_memory.ran_out(error)}; try {' or '.join(fits) or 'a machine with more memory'}"


def _on_this_machine(
    train: Train,
    model: nn.Module,
    val: Index,
    engine: str | None,
    engine_precision: EnginePrecision,
    device: torch.device,
) -> _Found:
    """Measure accuracy and speed on the validation split.

    Raises:
        ConfigError: the engine can't take the network, or there is too little memory.
    """
    try:
        return _measured(train, model, val, engine, engine_precision, device)
    except Exception as error:
        if out_of_memory.lacking(error):
            raise ConfigError(_what_would_fit(error, train, device)) from error
        raise


def _measured(
    train: Train,
    model: nn.Module,
    val: Index,
    engine: str | None,
    engine_precision: EnginePrecision,
    device: torch.device,
) -> _Found:
    run: Callable[[torch.Tensor], torch.Tensor]
    precision: Precision = train.precision if engine is None else "fp32"  # an engine has its own
    configure(precision)
    if problem := kernel_build.problem(device):
        raise ConfigError(f"{device}: {problem}")
    if engine is None:
        run = model.to(device).eval()
    else:
        try:
            run = build(engine, model, train.data.test_size, train.threads, engine_precision, device)
        except (TypeError, ValueError, ImportError) as error:
            raise ConfigError(str(error)) from error
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
        speed = measure(run, train.data.test_size, device, train.eval_batch)
    return _Found(accuracy, speed, round(accuracy.samples / seconds, 1))


if __name__ == "__main__":
    sys.exit(main())
