"""A training step: where its time goes, and against the same network wired as the paper's code does it.

    python bench/train_step.py                                    two threads; ten minutes
    python bench/train_step.py cifar_dnw --images 128 --threads 2

For each experiment four networks take steps in turns: as this project trains it; with all weights sorted at
each forward ("sort"), as the paper's code does; with all legal edges ("complete"); and, where there is one, a
dense MobileNetV1 of the same width. Images are noise that is there already. The phases of this project's step
are times within it; "rest" is the bookkeeping between them. Prints tables, writes train_step.json (--out).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw import models  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.data import Batch  # noqa: E402
from dnw.distributed import ALONE, World  # noqa: E402
from dnw.trainer import Trainer  # noqa: E402
from dnw.wiring import edges_of, raw_weight  # noqa: E402

SAMPLES = 50_000
EXPERIMENTS = ("static_dnw", "discrete_dnw", "continuous_dnw", "cifar_dnw", "imagenet_dnw_x225")
OURS, SORT, COMPLETE, DENSE = "this project", "sort", "complete", "dense MobileNetV1"
PHASES = ("forward", "backward", "optimizer", "selection")


class Stepper:
    """A network in training on noise, and the seconds that its steps took."""

    def __init__(self, words: list[str], options: argparse.Namespace) -> None:
        sizes = [f"batch={options.images}", f"micro_batch={options.images}", "data.workers=0"]
        train = training([*words, *sizes, f"threads={options.threads}", f"precision={options.precision}"])
        device = torch.device(options.device)
        world = World(rank=0, size=1, nodes=1, device=device) if device.type != "cpu" else ALONE
        self.trainer = Trainer(train, models.build(train), world, SAMPLES)
        self.trainer.begin()
        side = train.data.image_size
        noise = torch.randint(0, 256, (options.images, 3, side, side), dtype=torch.uint8)
        labels = torch.arange(options.images) % train.data.classes
        self._batches = itertools.repeat(Batch(noise, labels, torch.empty(0, dtype=torch.int64)))
        self.seconds: list[float] = []
        self.phases: list[Counter[str]] = []
        self._phase: Counter[str] = Counter()

    def step(self) -> None:
        self._phase = Counter()
        began = time.perf_counter()
        self.trainer.step(self._batches)
        self._wait()
        self.seconds.append(time.perf_counter() - began)
        self._phase["rest"] = self.seconds[-1] - sum(self._phase.values())
        self.phases.append(self._phase)

    def _wait(self) -> None:
        if self.trainer.world.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, phase: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same, and its time is noted; for that a GPU is waited for."""

        def run(*arguments: Any, **named: Any) -> Any:
            self._wait()
            began = time.perf_counter()
            result = act(*arguments, **named)
            self._wait()
            self._phase[phase] += time.perf_counter() - began
            return result

        return run


def ours(words: list[str], options: argparse.Namespace) -> Stepper:
    found = Stepper(words, options)
    trainer: Any = found.trainer
    trainer._choice.choose = found.timed("selection", trainer._choice.choose)
    trainer._loss = found.timed("forward", trainer._loss)
    trainer.optimizer.step = found.timed("optimizer", trainer.optimizer.step)
    return found


def sorting(words: list[str], options: argparse.Namespace) -> Stepper:
    """Edges are chosen by sorting all legal weights at each forward, and not after the step."""
    found = Stepper(words, options)
    trainer: Any = found.trainer
    wired = list(edges_of(trainer.model).values())
    loss = trainer._loss

    def sorted_first(batch: Batch) -> torch.Tensor:
        for module, edges in wired:
            size = raw_weight(module).detach().abs().flatten()
            legal = size if edges.legal is None else size.where(edges.legal.flatten(), -1)
            order = legal.sort(descending=True).indices
            edges.mask.zero_().view(-1)[order[: edges.budget]] = True
        result: torch.Tensor = loss(batch)
        return result

    trainer._loss = sorted_first
    trainer._choice.choose = lambda step: None
    return found


def contestants(experiment: str, options: argparse.Namespace) -> dict[str, Stepper]:
    words = [f"+exp={experiment}", *options.settings]
    found = {OURS: ours(words, options), SORT: sorting(words, options)}
    found[COMPLETE] = Stepper([*words, "wiring=complete"], options)
    if experiment.startswith(("cifar", "imagenet")):
        train = found[OURS].trainer.train
        like = [f"data.image_size={train.data.image_size}", f"data.classes={train.data.classes}"]
        dense = ["+exp=cifar_mobilenet_v1", f"width={train.width}", *like]
        found[DENSE] = Stepper(dense, options)
    return found


def backward_timed(stepper: Stepper) -> Iterator[None]:
    """While this is open, backward passes count as a phase of this network."""
    plain = torch.Tensor.backward
    torch.Tensor.backward = stepper.timed("backward", plain)  # type: ignore[method-assign]
    yield
    torch.Tensor.backward = plain  # type: ignore[method-assign]


def measure(experiment: str, options: argparse.Namespace) -> dict[str, Any]:
    found = contestants(experiment, options)
    for turn in range(options.turns + 1):
        for name, stepper in found.items():
            for _ in backward_timed(stepper) if name == OURS else [None]:
                stepper.step()
        if turn == 0:  # which allocates, and on a GPU compiles
            for stepper in found.values():
                stepper.seconds.clear()
                stepper.phases.clear()
    mine = found[OURS].seconds
    return {
        "ms": {name: 1e3 * statistics.median(one.seconds) for name, one in found.items()},
        "times ours": {
            name: statistics.median(b / a for a, b in zip(mine, one.seconds, strict=True))
            for name, one in found.items()
        },
        "share": {
            phase: statistics.median(one[phase] / sum(one.values()) for one in found[OURS].phases)
            for phase in (*PHASES, "rest")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument("--images", type=int, default=128, help="of a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "train_step.json")
    options = parser.parse_intermixed_args()
    options.settings = [word for word in options.words if "=" in word]
    experiments = [word for word in options.words if "=" not in word] or EXPERIMENTS
    torch.set_num_threads(options.threads)
    record = {}
    steps = Table("one step", f"{OURS}, ms", *(f"{name}: times as long" for name in (SORT, COMPLETE, DENSE)))
    parts = Table("share of it, %", *PHASES, "rest")
    for experiment in experiments:
        record[experiment] = found = measure(experiment, options)
        times = found["times ours"]
        ratios = [f"{times[name]:.2f}" if name in times else "" for name in (SORT, COMPLETE, DENSE)]
        steps.add_row(experiment, f"{found['ms'][OURS]:.1f}", *ratios)
        parts.add_row(experiment, *(f"{100 * found['share'][phase]:.1f}" for phase in (*PHASES, "rest")))
        print(f"{experiment}: {found['ms']}", file=sys.stderr)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    console = Console()
    console.print(steps)
    console.print(parts)


if __name__ == "__main__":
    main()
