"""A training step: where its time goes, against other ways to wire the network, and against the machine.

    python bench/train_step.py                                    two threads; a quarter of an hour
    python bench/train_step.py cifar_dnw --images 128 --threads 2
    python bench/train_step.py cifar_dnw --operations             torch's operations by their time, no tables

For each experiment four networks take steps in turns, the first ones of a run: as this project trains it;
with all weights sorted at each forward ("sort"), as the paper's code does; with all legal edges
("complete"); and, where there is one, a dense MobileNetV1 of the same width. Images are noise that is there
already. The phases of this project's step are times within it: "data" moves and normalizes the images, "rest"
is the bookkeeping between phases. There is one process, so nothing is communicated.

"Of the peak" is what the multiply-adds of a step would take if all were as fast as a product of large
matrices is in the same turn: those of all legal edges, once forward and twice backward. Prints tables, writes
train_step.json and train_step.png (--out).
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import sys
import time
from collections import defaultdict
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
from dnw.hardware import memory  # noqa: E402
from dnw.hardware.precision import configure  # noqa: E402
from dnw.models.continuous import Continuous  # noqa: E402
from dnw.profile import profile  # noqa: E402
from dnw.training.data import Batch  # noqa: E402
from dnw.training.distributed import ALONE, World  # noqa: E402
from dnw.training.trainer import Trainer  # noqa: E402
from dnw.wiring import edges_of, raw_weight  # noqa: E402

SAMPLES = 50_000
EXPERIMENTS = ("static_dnw", "discrete_dnw", "continuous_dnw", "cifar_dnw", "imagenet_dnw_x225")
OURS, SORT, COMPLETE, DENSE = "this project", "sort", "complete", "dense MobileNetV1"
OTHERS = (SORT, COMPLETE, DENSE)
PHASES = ("data", "forward", "backward", "optimizer", "selection", "rest")
IMAGES = {32: 128, 224: 16}  # of a step, by their size
PASSES = 3  # forward, and backward to the inputs and to the weights


class Stepper:
    """A network in training on noise, and the seconds that its steps took."""

    def __init__(self, words: list[str], options: argparse.Namespace) -> None:
        more = ["data.workers=0", f"threads={options.threads}", f"precision={options.precision}"]
        side = training(words).data.image_size
        self.images: int = options.images or IMAGES[side]
        train = training([*words, f"batch={self.images}", f"micro_batch={self.images}", *more])
        device = torch.device(options.device)
        world = World(rank=0, size=1, nodes=1, device=device) if device.type != "cpu" else ALONE
        self.trainer = Trainer(train, models.build(train), world, SAMPLES)
        self.trainer.begin()
        noise = torch.randint(0, 256, (self.images, 3, side, side), dtype=torch.uint8)
        labels = torch.arange(self.images) % train.data.classes
        self._batch = Batch(noise, labels, torch.empty(0, dtype=torch.int64))
        self.seconds: list[float] = []
        self.phases: list[dict[str, float]] = []
        self._phase: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0  # seconds of the phases within the present one

    def step(self) -> None:
        self._phase = defaultdict(float)
        began = time.perf_counter()
        self.trainer.step(map(self.timed("data", self._moved), itertools.repeat(self._batch)))
        self._wait()
        self.seconds.append(time.perf_counter() - began)
        self._phase["rest"] = self.seconds[-1] - sum(self._phase.values())
        self.phases.append(self._phase)

    def _moved(self, batch: Batch) -> Batch:
        device = self.trainer.world.device
        return batch._replace(images_BCHW=batch.images_BCHW.to(device), labels_B=batch.labels_B.to(device))

    def _wait(self) -> None:
        if self.trainer.world.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, phase: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same, and its time is noted, without that of phases within; for that a GPU is waited for."""

        def run(*arguments: Any, **named: Any) -> Any:
            self._wait()
            outer, self._inner = self._inner, 0.0
            began = time.perf_counter()
            result = act(*arguments, **named)
            self._wait()
            took = time.perf_counter() - began
            self._phase[phase] += took - self._inner
            self._inner = outer + took
            return result

        return run


def ours(words: list[str], options: argparse.Namespace) -> Stepper:
    found = Stepper(words, options)
    trainer: Any = found.trainer
    trainer._choice.choose = found.timed("selection", trainer._choice.choose)
    trainer.normalize = found.timed("data", trainer.normalize)
    trainer._loss = found.timed("forward", trainer._loss)
    trainer.optimizer.step = found.timed("optimizer", trainer.optimizer.step)
    return found


def sorting(words: list[str], options: argparse.Namespace) -> Stepper:
    """Edges are chosen by sorting all legal weights at each forward, and not after the step."""
    found = Stepper(words, options)
    trainer: Any = found.trainer
    wired = list(edges_of(trainer.model).values())
    loss = trainer._loss

    def sorted_first(batch: Batch, number: int) -> torch.Tensor:
        for module, edges in wired:
            size = raw_weight(module).detach().abs().flatten()
            legal = size if edges.legal is None else size.where(edges.legal.flatten(), -1)
            order = legal.sort(descending=True).indices
            edges.mask.zero_().view(-1)[order[: edges.budget]] = True
        result: torch.Tensor = loss(batch, number)
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
    peaks, copies = [], []
    for turn in range(options.turns + 1):
        peaks.append(product_gflops(options.device))
        copies.append(copy_gbs(options.device))
        for name, stepper in found.items():
            for _ in backward_timed(stepper) if name == OURS else [None]:
                stepper.step()
        if turn == 0:  # which allocates, and on a GPU compiles
            for stepper in found.values():
                stepper.seconds.clear()
                stepper.phases.clear()
    limits = {"GFLOP/s": max(peaks), "GB/s": max(copies)}
    return {**result(found, peaks[1:]), **limits}


def result(found: dict[str, Stepper], peaks: list[float]) -> dict[str, Any]:
    """Medians of the turns: ratios are of what met the same neighbours on the machine."""
    mine = found[OURS]
    side = mine.trainer.train.data.image_size
    needed = mine.images * gflop(mine.trainer.model, found[COMPLETE].trainer.model, side)
    ms = {name: 1e3 * statistics.median(one.seconds) for name, one in found.items()}
    return {
        "images": mine.images,
        "ms": ms,
        "images/s": {name: 1e3 * one.images / ms[name] for name, one in found.items()},
        "times ours": {
            name: statistics.median(b / a for a, b in zip(mine.seconds, one.seconds, strict=True))
            for name, one in found.items()
        },
        "share": {
            phase: statistics.median(one[phase] / sum(one.values()) for one in mine.phases)
            for phase in PHASES
        },
        "GFLOP": needed,
        "of the peak": statistics.median(
            needed / peak / one for peak, one in zip(peaks, mine.seconds, strict=True)
        ),
    }


def gflop(model: torch.nn.Module, complete: torch.nn.Module, side: int) -> float:
    """What a step computes for an image: each multiply-add of the network with all edges, in each pass."""
    costs = profile(complete, side)
    repeats = model.evaluations / costs.repeats if isinstance(model, Continuous) else 1
    return 2e-9 * PASSES * costs.effective_macs * repeats


def product_gflops(device: str) -> float:
    """What the machine reaches in a product of large matrices, the most that it can compute."""
    side = 4096 if device != "cpu" else 2048
    factor, product = torch.ones(side, side, device=device), torch.empty(side, side, device=device)
    return 2e-9 * side**3 / answered_s(lambda: torch.mm(factor, factor, out=product))


def copy_gbs(device: str) -> float:
    """What it reaches in a copy of 128 MiB, the most that it can read and write."""
    source = torch.ones(2**25, device=device)
    target = torch.ones_like(source)
    return 1e-9 * 2 * source.nbytes / answered_s(lambda: target.copy_(source))


def answered_s(act: Callable[[], torch.Tensor]) -> float:
    began = time.perf_counter()
    act().view(-1)[0].item()  # a GPU answers when it has computed
    return time.perf_counter() - began


def operations(experiment: str, options: argparse.Namespace) -> str:
    """Torch's operations in a step of this project, those that take most first."""
    stepper = Stepper([f"+exp={experiment}", *options.settings], options)
    stepper.step()
    with torch.profiler.profile() as profiled:
        for _ in range(options.turns):
            stepper.step()
    kind = "cpu" if options.device == "cpu" else "device"
    table: str = profiled.key_averages().table(sort_by=f"self_{kind}_time_total", row_limit=16)
    return table


def show(record: dict[str, Any], console: Console) -> None:
    columns = "images", "ms", "images/s", "sort", "complete", "dense", "of the peak, %"
    steps = Table("one step", *columns, caption="sort, complete, dense: so many times as long")
    parts = Table("share of it, %", *PHASES)
    for experiment, found in record["experiments"].items():
        ratios = [f"{found['times ours'][name]:.2f}" if name in found["ms"] else "" for name in OTHERS]
        speed = [str(found["images"]), f"{found['ms'][OURS]:.1f}", f"{found['images/s'][OURS]:.1f}"]
        steps.add_row(experiment, *speed, *ratios, f"{100 * found['of the peak']:.0f}")
        parts.add_row(experiment, *(f"{100 * found['share'][phase]:.1f}" for phase in PHASES))
    console.print(steps)
    console.print(parts)
    gflops, gbs = (
        max(found[unit] for found in record["experiments"].values()) for unit in ("GFLOP/s", "GB/s")
    )
    threads = record["machine"]["threads"]
    console.print(
        f"this machine, {threads} threads: {gflops:.0f} GFLOP/s in a product, {gbs:.1f} GB/s in a copy"
    )


def draw(record: dict[str, Any], place: Path) -> None:
    """Each network's step, one of this project's being 1; and the phases of the latter."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", sharey=True)
    experiments = record["experiments"]
    places = range(len(experiments))
    for number, name in enumerate((OURS, *OTHERS)):
        times = [found["times ours"].get(name, 0.0) for found in experiments.values()]
        left.barh([place + 0.2 * (number - 1.5) for place in places], times, 0.2, label=name)
    left.set(xlabel="time of a step, this project's being 1", yticks=places, yticklabels=list(experiments))
    left.invert_yaxis()
    begun = [0.0 for _ in places]
    for phase in PHASES:
        shares = [100 * found["share"][phase] for found in experiments.values()]
        right.barh(places, shares, left=begun, label=phase)
        begun = [one + share for one, share in zip(begun, shares, strict=True)]
    right.set(xlabel="share of this project's step, %")
    for axes in (left, right):
        axes.legend(fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    figure.savefig(place, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument("--images", type=int, help="of a step; 128 of 32 px, 16 of 224 px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--operations", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "train_step.json")
    options = parser.parse_intermixed_args()
    options.settings = [word for word in options.words if "=" in word]
    experiments = [word for word in options.words if "=" not in word] or EXPERIMENTS
    torch.set_num_threads(options.threads)
    configure(options.precision)
    if options.device == "cpu":
        memory.keep_freed()  # as training does
    if options.operations:
        print(*(operations(experiment, options) for experiment in experiments), sep="\n")
        return
    record: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "threads": options.threads,
        },
        "experiments": {},
    }
    for experiment in experiments:
        record["experiments"][experiment] = found = measure(experiment, options)
        print(f"{experiment}: {found['ms']}", file=sys.stderr)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")  # after each, should it be stopped
    show(record, Console())
    draw(record, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
