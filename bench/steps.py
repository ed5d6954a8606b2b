"""What the experiments cost: seconds of a training step here, and what a whole run would take by them.

    python bench/steps.py                                all, on the GPU if there is one
    python bench/steps.py imagenet_dnw resnet50_sparse   some; words with = are settings of all of them

A step is what one process does in training: forward, backward, optimizer, choice of edges; images are noise
that is there already, so neither loading nor evaluating them counts. A micro-batch has --images images, the
step as many of them as --micro-batches. Hours are of one process, for all steps of the experiment: on GPUs,
GPU-hours of a run, if communication costs nothing. On a CPU everything is in fp32, unless a setting says
otherwise. Prints a table and writes bench/out/steps.json (--out).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw import models  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.hardware.precision import configure  # noqa: E402
from dnw.schedule import total_steps  # noqa: E402
from dnw.training.data import Batch  # noqa: E402
from dnw.training.distributed import ALONE, World  # noqa: E402
from dnw.training.trainer import Trainer  # noqa: E402
from shards.command import amount  # noqa: E402

SAMPLES = {"cifar10": 50_000, "fashion_mnist": 60_000, "imagenet": 1_281_167}
# one of each kind: the others take as long as one of these
KINDS = (
    *(
        "static_dnw",
        "static_random",
        "discrete_dnw",
        "discrete_random",
        "continuous_dnw",
        "continuous_random",
    ),
    *("cifar_complete", "cifar_dnw", "cifar_random", "cifar_td", "cifar_mobilenet_v1"),
    *("imagenet_dnw_x225", "imagenet_dnw_x49", "imagenet_random_x225", "imagenet_small_x225"),
    *("resnet50_dense", "resnet50_sparse"),
)


def measure(experiment: str, settings: list[str], options: argparse.Namespace) -> dict[str, Any]:
    whole = training([f"+exp={experiment}", *settings])
    images = min(options.images, whole.micro_batch)
    sizes = [f"micro_batch={images}", f"batch={images * options.micro_batches}", "data.workers=0"]
    device = torch.device(options.device)
    slow = ["precision=fp32"] if device.type == "cpu" else []  # unless a setting says otherwise
    train = training([f"+exp={experiment}", *slow, *settings, *sizes])
    configure(train.precision)
    world = World(rank=0, size=1, nodes=1, device=device) if device.type != "cpu" else ALONE
    torch.set_num_threads(train.threads)
    trainer = Trainer(train, models.build(train), world, SAMPLES[train.data.name])
    trainer.begin()
    side = train.data.image_size
    noise = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8)
    batch = Batch(noise, torch.arange(images) % train.data.classes, torch.empty(0, dtype=torch.int64))
    batches = itertools.repeat(batch)
    seconds: list[float] = []
    trainer.step(batches)  # which allocates, and on a GPU compiles
    while len(seconds) < options.least or sum(seconds) < options.seconds:
        began = time.perf_counter()
        trainer.step(batches)
        trainer.meter.sum().item()  # a GPU answers when it has computed
        seconds.append(time.perf_counter() - began)
    per_second = train.batch / statistics.median(seconds)
    total = total_steps(whole, SAMPLES[whole.data.name]) * whole.batch
    return {"images_per_second": per_second, "hours": total / per_second / 3600, "images": total}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument("--images", type=int, default=64, help="of a micro-batch")
    parser.add_argument("--micro-batches", type=int, default=1, help="of a step")
    parser.add_argument("--seconds", type=amount, default=5.0, help="for each, about")
    parser.add_argument("--least", type=int, default=3, help="steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "steps.json")
    options = parser.parse_intermixed_args()
    settings = [word for word in options.words if "=" in word]
    experiments = [word for word in options.words if "=" not in word] or KINDS
    found = {}
    rows = Table("experiment", "images/s", f"hours of one {options.device} process, whole run")
    for experiment in experiments:
        found[experiment] = one = measure(experiment, settings, options)
        rows.add_row(experiment, f"{one['images_per_second']:.1f}", f"{one['hours']:,.1f}")
        print(f"{experiment}: {one['images_per_second']:.1f} images/s", file=sys.stderr)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    Console().print(rows)


if __name__ == "__main__":
    main()
