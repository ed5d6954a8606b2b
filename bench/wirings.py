"""Wirings compared: the same network with the same budget for the same steps, over several seeds.

python bench/wirings.py demo_random demo_dnw nproc=2
python bench/wirings.py cifar_random cifar_no_update cifar_dnw data=fashion_mnist steps=200 batch=64
python bench/wirings.py demo_dnw demo_dnw+optim.lr=0.02 demo_dnw+optim.lr=0.02+wiring.swaps=0.01 nproc=2

Each row is an experiment, with settings of its own behind +; the other words are settings of all rows.
Prints top-1 of each seed, their mean and their deviation; writes bench/out/wirings.json (--out). Needs the
shards of Fashion-MNIST in data/fashion_mnist (make demo writes them). Runs that are done are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from rich.text import Text  # noqa: E402

from launch import prepare  # noqa: E402
from launch.compose import compose  # noqa: E402


def top1(row: str, seed: int, settings: list[str]) -> float:
    """Train one seed of a row, or look up what it came to: top-1, percent."""
    experiment, *own = row.split("+")
    words = [f"+exp={experiment}", f"seed={seed}", *settings, *own]
    (composed,) = compose(words)
    run = prepare.plan(composed).run
    subprocess.run(
        [sys.executable, "launch/local.py", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return float(json.loads(run.result.read_text())["top1"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "words", nargs="+", help="EXPERIMENT[+SETTING=VALUE...], and settings for all of them"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "wirings.json")
    options = parser.parse_intermixed_args()
    rows = [word for word in options.words if "=" not in word.partition("+")[0]]
    settings = [word for word in options.words if word not in rows]
    found = {row: [top1(row, seed, settings) for seed in range(options.seeds)] for row in rows}
    table = Table("Experiment", *(f"seed {seed}" for seed in range(options.seeds)), "mean", "deviation")
    for row, accuracies in found.items():
        of_all = statistics.mean(accuracies), statistics.pstdev(accuracies)
        table.add_row(Text(row), *(f"{number:.2f}" for number in (*accuracies, *of_all)))
    Console().print(table)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
