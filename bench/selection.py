"""Choosing the edges of a weight, once per optimizer step: against sorting, torch.topk and torch.kthvalue.

    python bench/selection.py             0.64, 8.65 and 100 million weights; two minutes
    python bench/selection.py --sizes 640000 --share 0.2

All mark the same edges: the largest magnitudes among all weights. They come in turns, on the GPU if there is
one; ratios are medians of the ratios within a turn. Prints a table, writes bench/out/selection.json (--out).
Then what a step of the MobileNetV1-like network asks of a GPU by design, which needs none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402

from dnw.hardware import memory  # noqa: E402
from dnw.hardware.device import HAS_TRITON  # noqa: E402
from dnw.models.mobilenet import BLOCKS  # noqa: E402
from dnw.wiring import Layout  # noqa: E402
from dnw.wiring.selection import largest  # noqa: E402
from shards.command import amount  # noqa: E402

PEAK = 3.35e12  # bytes a second that the memory of an H100 SXM moves, by its data sheet
OURS = "this project"
Choose = Callable[[Tensor, int], Tensor]


def by_sort(weight: Tensor, budget: int) -> Tensor:
    """As the paper's code does at each forward."""
    order = weight.abs().sort(descending=True).indices
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[order[:budget]] = True
    return mask


def by_topk(weight: Tensor, budget: int) -> Tensor:
    size = weight.abs()
    return size >= size.topk(budget, sorted=False).values.amin()


def by_kthvalue(weight: Tensor, budget: int) -> Tensor:
    size = weight.abs()
    return size >= size.kthvalue(size.numel() - budget + 1).values


CONTEST: dict[str, Choose] = {
    OURS: lambda weight, budget: largest(weight, None, budget),
    "sort": by_sort,
    "topk": by_topk,
    "kthvalue": by_kthvalue,
}


def seconds(choose: Choose, weight: Tensor, budget: int) -> float:
    began = time.perf_counter()
    choose(weight, budget)[0].item()  # a GPU answers when it has computed
    return time.perf_counter() - began


def contest(size: int, share: float, turns: int, device: str) -> dict[str, list[float]]:
    weight = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device)
    budget = round(share * size)
    expected = largest(weight, None, budget)
    for name, choose in CONTEST.items():
        assert int(choose(weight, budget).ne(expected).sum()) == 0, name
    found: dict[str, list[float]] = {name: [] for name in CONTEST}
    for _ in range(turns):
        for name, choose in CONTEST.items():
            found[name].append(seconds(choose, weight, budget))
    return found


def reckoned() -> str:
    """Say what the choice for the MobileNetV1-like network launches, reads and writes on a GPU."""
    if not HAS_TRITON:
        return "The kernels for a GPU need triton, which is for Linux alone."
    from dnw.wiring.selection_gpu import LAUNCHES, traffic  # noqa: PLC0415 (needs triton)

    positions, legal = [], []
    for inputs, outputs, _, depth in BLOCKS:
        layers = (inputs, *[outputs] * depth)
        rows, columns = outputs * depth, inputs + outputs * (depth - 1)
        positions.append(rows * columns)
        legal.append(int(Layout(layers, rows, columns, outputs).legal().sum()))
    moved = sum(map(traffic, positions, legal))
    return (
        f"On a GPU, by design: {LAUNCHES * len(BLOCKS)} launches and {moved / 1e6:.0f} MB for the "
        f"MobileNetV1-like network, {sum(legal) / 1e6:.2f} of {sum(positions) / 1e6:.2f} M positions legal; "
        f"{moved / PEAK * 1e3:.2f} ms at an H100's {PEAK / 1e12} TB/s, launches aside."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[640_000, 8_650_000, 100_000_000])
    parser.add_argument("--share", type=amount, default=0.05, help="of the weights that are kept")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "selection.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cpu":
        memory.keep_freed()  # as training does
    record, rows = {}, Table("weights", *(f"{name}, ms" for name in CONTEST), *list(CONTEST)[1:])
    for size in options.sizes:
        record[size] = found = contest(size, options.share, options.turns, options.device)
        ms = [f"{1e3 * statistics.median(times):.2f}" for times in found.values()]
        ratios = [
            f"{statistics.median(b / a for a, b in zip(found[OURS], found[name], strict=True)):.1f} times"
            for name in list(CONTEST)[1:]
        ]
        rows.add_row(f"{size / 1e6:g} M", *ms, *ratios)
    Console().print(rows)
    print(reckoned())
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
