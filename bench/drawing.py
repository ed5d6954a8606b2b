"""How long training stands still at an epoch's end for the costs and pictures of the wiring.

    python bench/drawing.py                                 static_dnw and cifar_dnw
    python bench/drawing.py cifar_dnw --turns 5 --threads 1

In turns, in one process: counted and drawn before training goes on ("in place"), and handed to the thread
that does it ("in a thread"), for which training stands still until it has copies of the masks; beside each a
step of training on noise. Where training leaves the thread no processor it takes its time from the steps that
follow, which is no standstill and isn't shown. Prints medians, writes bench/out/drawing.json (--out).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw import models  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.profile import profile  # noqa: E402
from dnw.training.data import Batch  # noqa: E402
from dnw.training.distributed import ALONE  # noqa: E402
from dnw.training.monitoring.drawing import Drawing  # noqa: E402
from dnw.training.monitoring.pictures import panels  # noqa: E402
from dnw.training.trainer import Trainer  # noqa: E402
from dnw.wiring import edges_of  # noqa: E402

SAMPLES = 50_000


def measure(experiment: str, settings: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Return medians in seconds; the first turn, which allocates, isn't counted."""
    sizes = [f"batch={options.images}", f"micro_batch={options.images}", "data.workers=0", "precision=fp32"]
    train = training([f"+exp={experiment}", *settings, *sizes])
    trainer = Trainer(train, models.build(train), ALONE, SAMPLES)
    trainer.begin()
    side = train.data.image_size
    noise = torch.randint(0, 256, (options.images, 3, side, side), dtype=torch.uint8)
    labels_B = torch.arange(options.images) % train.data.classes
    batches = itertools.repeat(Batch(noise, labels_B, torch.empty(0, dtype=torch.int64)))
    drawing = Drawing()

    def in_place() -> None:
        model = trainer.show_for_evaluation()
        trainer.swapped()
        profile(model, side)
        panels({name: edges for name, (_, edges) in edges_of(model).items()})

    def in_a_thread() -> None:
        model = trainer.show_for_evaluation()
        trainer.swapped()
        drawing.begin(model, trainer.masks, side, lambda costs, pictures: None)

    seconds: dict[str, list[float]] = {"step": [], "in place": [], "in a thread": []}
    for _ in range(options.turns + 1):
        seconds["step"].append(_seconds(lambda: trainer.step(batches)))
        seconds["in place"].append(_seconds(in_place))
        seconds["in a thread"].append(_seconds(in_a_thread))
        drawing.wait()
    drawing.close()
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def _seconds(act: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument("--images", type=int, default=32, help="of a step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "drawing.json")
    options = parser.parse_intermixed_args()
    torch.set_num_threads(options.threads)
    settings = [word for word in options.words if "=" in word]
    experiments = [word for word in options.words if "=" not in word] or ["static_dnw", "cifar_dnw"]
    record: dict[str, Any] = {}
    rows = Table("experiment", "a step, ms", "in place, ms", "in a thread, ms", "so many times as long")
    for experiment in experiments:
        record[experiment] = found = measure(experiment, settings, options)
        ratio = found["in place"] / found["in a thread"]
        rows.add_row(experiment, *(f"{1000 * value:.1f}" for value in found.values()), f"{ratio:.1f}")
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    Console().print(rows)


if __name__ == "__main__":
    main()
