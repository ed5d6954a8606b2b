"""How long the engines take for an image: a discovered wiring against dense networks of the same accuracy.

    python bench/inference.py             widths, batches and threads of docs/inference.md, an hour
    python bench/inference.py --quick     width 0.225, one image, one thread

The dense networks, and the wirings as `dnw.export --onnx` writes them, run in ONNX Runtime and OpenVINO, of
those that are installed (pip install '.[bench]'). Native runs with maps in bf16, too (--no-bf16: it doesn't),
and wirings of the same width with edges in blocks (--blocks). Prints a table and the goals, and writes
inference.json, inference.png (time against cost) and accuracy.png (published accuracy against time) to
bench/out (--out).

Weights are drawn: times don't depend on their values. So that nodes are left without edges as after training,
each node gets a factor of its own before the edges are chosen (--spread). Multiply-adds are those on paths
from the image to a class: with the default, as many at width 0.225 as the paper's trained network has. "Of
peak" is their share of what the cores multiply and add in registers (bench/peak.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
os.environ.setdefault("DGLBACKEND", "pytorch")  # else dgl writes a file to the home folder

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Column, Table  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bench.peak import peak_gflops  # noqa: E402
from bench.peers import PEERS, RUNTIMES, exported, exported_wiring  # noqa: E402
from dnw import engines, models  # noqa: E402
from dnw.compact import Compact, compact  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.profile import profile  # noqa: E402
from dnw.wiring import edges_of, raw_weight  # noqa: E402
from shards.command import amount  # noqa: E402

SIZE = 224
IN_BF16 = "native in bf16"
ENGINES = ("sort", "dense", "compact", "csr", "dgl", "native")
TOP1 = {0.225: 60.9, 0.3: 65.0, 0.49: 70.4}  # of a width, percent on ImageNet (the paper, table 1)
GOALS = (  # of a width, one image or 32, one thread: how many times as long as native
    (0.225, "dense", 4.0),
    (0.225, "sort", 90.0),
    (0.225, "dgl", 10.0),
    (0.225, "MobileNetV1 x0.25 dense", 1.0),
    (0.225, "ShuffleNetV2 x0.5 ONNX Runtime", 1.0),
    (0.49, "ShuffleNetV2 x1 ONNX Runtime", 1.0),
)
SLOW = ("sort", "dense", "compact", "csr", "dgl")  # not in the picture of what to deploy
Run = Callable[[Tensor], Tensor]
Timer = Callable[[], float]


@dataclasses.dataclass
class Timed:
    """One network in one engine, and how long it took."""

    name: str
    beside: float  # the width of the wiring that it was compared with
    width: float
    batch: int
    threads: int
    multiply_adds: int
    top1: float | None = None  # published, percent
    rounds: int = 0
    seconds: list[float] = dataclasses.field(default_factory=list)

    @property
    def ms(self) -> float:
        """Per image, median."""
        return 1e3 * statistics.median(self.seconds) / self.batch

    @property
    def least_ms(self) -> float:
        """Per image: what it takes where nothing else disturbs it."""
        return 1e3 * min(self.seconds) / self.batch

    @property
    def gflops(self) -> float:
        return 2e-6 * self.multiply_adds / self.ms


def discovered(width: float, spread: float, block: int = 1) -> nn.Module:
    """A network whose edges favour some nodes, and whose norms are as after some training."""
    words = ["+exp=imagenet_dnw", f"width={width}", f"wiring.block={block}"]
    model = models.build(training(words)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module, edges in edges_of(model).values():
            raw = raw_weight(module)
            raw *= torch.randn(1, raw.shape[1], 1, 1, generator=generator).mul(spread).exp()
            edges.choose(raw, step=0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.bias.normal_(0, 0.5, generator=generator)
    return model


def without_edges(model: nn.Module) -> float:
    """The share of nodes that feed none."""
    fed = torch.cat([edges.mask.flatten(1).any(0) for _, edges in edges_of(model).values()])
    return 1 - float(fed.float().mean())


def sorting(model: nn.Module) -> Run:
    """The network as it trains, if edges were selected by sorting all weights at each call."""

    @torch.inference_mode()
    def run(images_BCHW: Tensor) -> Tensor:
        for module, edges in edges_of(model).values():
            size = raw_weight(module).abs().flatten()
            order = (size if edges.legal is None else size.where(edges.legal.flatten(), -1)).sort(
                descending=True
            )
            edges.mask.zero_().view(-1)[order.indices[: edges.budget]] = True
        logits_BK: Tensor = model(images_BCHW)
        return logits_BK

    return run


def engine(name: str, model: nn.Module, left: Compact, threads: int) -> Run:
    if name == "sort":
        return sorting(model)
    return engines.build(name, model if name == "dense" else left, SIZE, threads)


def measure(
    runs: dict[str, tuple[Run, Timed]], rounds: int, seconds: float, timer: Timer = time.perf_counter
) -> list[Timed]:
    """Time all in turns, so that whatever else the machine does meets all; slow ones less often."""
    for run, timed in runs.values():
        images_BCHW = images(timed)
        run(images_BCHW)
        took = clock(run, images_BCHW, timer)
        timed.rounds = max(3, min(rounds, round(seconds / took)))
    for turn in range(rounds):
        for run, timed in runs.values():
            if turn < timed.rounds:
                timed.seconds.append(clock(run, images(timed), timer))
    return [timed for _, timed in runs.values()]


def images(timed: Timed) -> Tensor:
    made = torch.randn(timed.batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    dense = timed.name.startswith("MobileNetV1") and timed.name.endswith("dense")
    return made.contiguous(memory_format=torch.channels_last) if dense else made


def clock(run: Run, images_BCHW: Tensor, timer: Timer = time.perf_counter) -> float:
    began = timer()
    run(images_BCHW)
    return timer() - began


def compare(options: argparse.Namespace, width: float, batch: int, threads: int) -> list[Timed]:
    torch.set_num_threads(threads)
    model = discovered(width, options.spread)
    left = compact(model, SIZE)
    cost = profile(model, SIZE).effective_macs
    case = functools.partial(Timed, beside=width, batch=batch, threads=threads)
    own = functools.partial(case, width=width, multiply_adds=cost, top1=TOP1.get(width))
    runs = {name: (engine(name, model, left, threads), own(name)) for name in options.engines}
    if options.bf16 and "native" in options.engines:
        runs[IN_BF16] = engines.build("native", left, SIZE, threads, "bf16"), own(IN_BF16)
    runs |= {name: (run, own(name)) for name, run in in_runtimes(left, options.exports, threads).items()}
    for block in options.blocks:
        of_blocks = discovered(width, options.spread, block)
        costs = profile(of_blocks, SIZE).effective_macs
        blocks = compact(of_blocks, SIZE)
        native: dict[str, Run] = {"native": engines.build("native", blocks, SIZE, threads)}
        if options.bf16:
            native[IN_BF16] = engines.build("native", blocks, SIZE, threads, "bf16")
        for name, run in (native | in_runtimes(blocks, options.exports, threads)).items():
            named = f"{name}, blocks of {block}"
            runs[named] = run, case(named, width=0, multiply_adds=costs)
    for peer in (peer for peer in PEERS if peer.name in options.peers):
        network = peer.build(SIZE)
        dense = functools.partial(case, width=0, multiply_adds=profile(network, SIZE).macs, top1=peer.top1)
        loaded = {
            name: load(exported(network, batch, SIZE), threads) for name, load in found_runtimes().items()
        }
        if peer.name.startswith("MobileNetV1"):
            loaded["dense"] = engines.build("dense", network, SIZE, threads)
        runs |= {f"{peer.name} {name}": (run, dense(f"{peer.name} {name}")) for name, run in loaded.items()}
    unread = without_edges(model)
    print(f"width {width:g}: {cost / 1e6:.1f} M multiply-adds, {unread:.0%} of the nodes feed none")
    check(runs)
    timer = time.process_time if options.cpu_time else time.perf_counter
    return measure(runs, options.rounds, options.seconds, timer)


def in_runtimes(left: Compact, wanted: bool, threads: int) -> dict[str, Run]:
    """Return a wiring in the runtimes that are installed, if that is wanted."""
    if not wanted:
        return {}
    content = exported_wiring(left)
    return {f"wiring {name}": load(content, threads) for name, load in found_runtimes().items()}


def found_runtimes() -> dict[str, Callable[[bytes, int], Run]]:
    """Return the runtimes that are installed."""
    modules = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}
    return {name: load for name, load in RUNTIMES.items() if importlib.util.find_spec(modules[name])}


def check(runs: dict[str, tuple[Run, Timed]]) -> None:
    """All engines compute the same; a fast wrong one isn't worth a row."""
    images_BCHW = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    logits = {name: run(images_BCHW) for name, (run, timed) in runs.items() if timed.width}
    expected_BK = next(iter(logits.values()))
    for name, found_BK in logits.items():
        error = float((found_BK - expected_BK).abs().max() / expected_BK.abs().max())
        if error > (2**-8 if name == IN_BF16 else 1e-5):
            raise SystemExit(f"engine {name} is off by {error:.1e} of the largest logit")


def paired(slow: Timed, fast: Timed) -> float:
    """How many times as long `slow` takes: the median of turns, as both met the same neighbours in a turn."""
    return statistics.median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=False))


def show(found: list[Timed], peaks: dict[int, float], console: Console) -> None:
    rows = Table(
        "width", "batch", "threads", Column("engine", no_wrap=True), "ms/image", "least", "GFLOP/s", "of peak"
    )
    for timed in found:
        least = f"{timed.least_ms:.2f}"
        share = f"{timed.gflops / peaks[timed.threads]:.0%}"
        first = f"{timed.width:g}" if timed.width else "", str(timed.batch), str(timed.threads), timed.name
        rows.add_row(*first, f"{timed.ms:.2f}", least, f"{timed.gflops:.1f}", share)
    console.print(rows)


def goals(found: list[Timed]) -> dict[str, dict[str, float]]:
    """What native is measured by, on one thread."""
    by_case = {(timed.beside, timed.batch, timed.name): timed for timed in found if timed.threads == 1}
    return {
        f"width {width:g}, batch {batch}: {name}": {
            "goal": goal,
            "measured": paired(by_case[width, batch, name], by_case[width, batch, "native"]),
        }
        for width, name, goal in GOALS
        for batch in (1, 32)
        if {(width, batch, name), (width, batch, "native")} <= by_case.keys()
    }


def draw(found: list[Timed], out: Path) -> None:
    """Time against cost, and published accuracy against time, for one image on one thread."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    series: dict[str, dict[int, Timed]] = {}
    for timed in found:
        if timed.batch == timed.threads == 1:
            family, _, runtime = timed.name.partition(" x")
            name = f"{family} {runtime.partition(' ')[2]}".strip()
            series.setdefault(name, {})[timed.multiply_adds] = timed
    if not series:
        return
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in series.items():
        costs = sorted(points)
        times = [points[cost].ms for cost in costs]
        axes.plot([cost / 1e6 for cost in costs], times, _dashes(points), marker="o", label=name)
    axes.set(xlabel="million multiply-adds", ylabel="ms per image", xscale="log", yscale="log")
    _save(figure, axes, out / "inference.png")
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in series.items():
        known = sorted((one for one in points.values() if one.top1), key=lambda timed: timed.least_ms)
        if known and name not in SLOW:
            top1 = [timed.top1 or 0 for timed in known]
            axes.plot([timed.least_ms for timed in known], top1, _dashes(points), marker="o", label=name)
    axes.set(xlabel="ms for one image, one thread, least", ylabel="published top-1 accuracy, %", xscale="log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    _save(figure, axes, out / "accuracy.png")


def _dashes(points: dict[int, Timed]) -> str:
    return "-" if all(timed.width for timed in points.values()) else "--"


def _save(figure: Any, axes: Any, place: Path) -> None:
    axes.legend(fontsize="small")
    axes.grid(which="both", alpha=0.3)
    figure.savefig(place, dpi=150)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="width 0.225, one image, one thread")
    parser.add_argument("--widths", type=amount, nargs="+", default=[0.15, 0.225, 0.3, 0.49])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, default=names)
    parser.add_argument("--blocks", type=int, nargs="*", default=[4], help="wiring.block, for native")
    parser.add_argument(
        "--bf16", action=argparse.BooleanOptionalAction, default=True, help="native with maps in bf16, too"
    )
    parser.add_argument(
        "--exports", action=argparse.BooleanOptionalAction, default=True, help="wirings in the runtimes, too"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--seconds", type=amount, default=4.0, help="for one row, about")
    parser.add_argument(
        "--cpu-time", action="store_true", help="of the process, not the clock's: one thread, busy machine"
    )
    parser.add_argument("--spread", type=amount, default=0.03, help="0: as before training")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    options = parser.parse_args()
    if options.quick:
        options.widths, options.batch, options.threads = [0.225], [1], [1]
    if options.cpu_time and options.threads != [1]:
        parser.error("--cpu-time adds up what all threads took: with --threads 1 alone")
    return options


def write(found: list[Timed], peaks: dict[int, float], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "peak_gflops": peaks,
        "goals": goals(found),
        "rows": [dataclasses.asdict(timed) | {"ms": timed.ms} for timed in found],
    }
    (out / "inference.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    options, console = arguments(), Console()
    found: list[Timed] = []
    peaks: dict[int, float] = {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        peaks[threads] = peak_gflops(threads)
        for batch in options.batch:
            for width in options.widths:
                found += compare(options, width, batch, threads)
                write(found, peaks, options.out)  # after each, so that nothing is lost where it is stopped
    show(found, peaks, console)
    for name, ratio in goals(found).items():
        sign = "reached" if ratio["measured"] >= ratio["goal"] else "missed"
        took = f"{name} takes {ratio['measured']:.2f} times as long as native"
        console.print(f"{took} (goal {ratio['goal']:g}): {sign}")
    draw(found, options.out)


if __name__ == "__main__":
    main()
