"""What communication takes of a training step, with reduce=exact and with reduce=fast, on local processes.

    python bench/reduce.py             static_dnw and cifar_dnw on 1, 2 and 4 processes
    python bench/reduce.py static_dnw --processes 1 2 --images 64 --micro-batches 8

The same step each time: --micro-batches of --images, shared by the processes. Both kinds take steps in turns
in the same processes, and so does one that sends nothing ("silent"): what the others take longer than it is
communication that no computing hides. Shares and ratios are medians of those within a turn. Images are noise
that is there already. On a machine with GPUs each process takes one. Prints a table, writes
bench/out/reduce.json (--out).
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

from bench.ranks import Times, race  # noqa: E402
from dnw import models  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.training.data import Batch  # noqa: E402
from dnw.training.distributed import ALONE, World  # noqa: E402
from dnw.training.trainer import Trainer  # noqa: E402

SAMPLES = 50_000
EXPERIMENTS = ("static_dnw", "cifar_dnw")
KINDS = SILENT, FAST, EXACT = "silent", "fast", "exact"


def trainer_of(kind: str, words: list[str], world: World) -> Trainer:
    train = training([*words, f"reduce={FAST if kind == SILENT else kind}"])
    found = Trainer(train, models.build(train), world, SAMPLES)
    found.begin()
    if kind == SILENT:
        reduction: Any = found._reduction
        reduction.forward, reduction._world = found.model, ALONE
    return found


def noise(trainer: Trainer) -> Batch:
    train = trainer.train
    side = train.data.image_size
    images = torch.randint(0, 256, (train.micro_batch, 3, side, side), dtype=torch.uint8)
    labels = torch.arange(train.micro_batch) % train.data.classes
    return Batch(images, labels, torch.empty(0, dtype=torch.int64))


def seconds(trainer: Trainer, batch: Batch) -> float:
    """Of a step that all processes begin together."""
    trainer.world.barrier()
    began = time.perf_counter()
    trainer.step(itertools.repeat(batch))
    if trainer.world.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measured(world: World, words: list[str], turns: int) -> Times:
    """What each of the processes does."""
    trainers = {kind: trainer_of(kind, words, world) for kind in KINDS}
    batch = noise(trainers[FAST])
    found: Times = {kind: [] for kind in KINDS}
    for turn in range(turns + 1):
        for kind, trainer in trainers.items():
            took = seconds(trainer, batch)
            if turn > 0:  # the first allocates
                found[kind].append(took)
    return found


def measure(experiment: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    sizes = [f"micro_batch={options.images}", f"batch={options.images * options.micro_batches}"]
    words = [f"+exp={experiment}", *options.settings, *sizes, "data.workers=0"]
    found = race(size, measured, words, options.turns)
    silent, fast, exact = (found[kind] for kind in KINDS)
    ms = {f"{kind} ms": 1e3 * statistics.median(found[kind]) for kind in KINDS}
    return {
        **ms,
        "fast, communication": statistics.median(1 - b / a for a, b in zip(fast, silent, strict=True)),
        "exact, communication": statistics.median(1 - b / a for a, b in zip(exact, silent, strict=True)),
        "exact to fast": statistics.median(b / a for a, b in zip(fast, exact, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--images", type=int, default=32, help="of a micro-batch")
    parser.add_argument("--micro-batches", type=int, default=4, help="of a step, over all processes")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "reduce.json")
    options = parser.parse_intermixed_args()
    options.settings = [word for word in options.words if "=" in word]
    experiments = [word for word in options.words if "=" not in word] or EXPERIMENTS
    record: dict[str, dict[int, Any]] = {}
    columns = *(f"{kind}, ms" for kind in KINDS), "of fast, %", "of exact, %", "exact to fast"
    rows = Table("one step", "processes", *columns, caption="of fast, of exact: communication")
    for experiment, size in itertools.product(experiments, options.processes):
        found = measure(experiment, size, options)
        record.setdefault(experiment, {})[size] = found
        ms = [f"{found[f'{kind} ms']:.1f}" for kind in KINDS]
        shares = [f"{100 * found[f'{kind}, communication']:.1f}" for kind in (FAST, EXACT)]
        rows.add_row(experiment, str(size), *ms, *shares, f"{found['exact to fast']:.2f}")
        print(f"{experiment} on {size}: {found}", file=sys.stderr)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    Console().print(rows)


if __name__ == "__main__":
    main()
