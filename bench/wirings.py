"""Wirings compared: the same network with the same budget for the same steps, over several seeds.

python bench/wirings.py demo_random demo_dnw nproc=2
python bench/wirings.py cifar_random cifar_no_update cifar_dnw data=fashion_mnist steps=200 batch=64

Words without = are experiments, the others settings of all of them. Needs the shards of Fashion-MNIST in
data/fashion_mnist (make demo writes them). Prints a table, and writes bench/out/wirings.json (--out). Runs
that are done already are not repeated.
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

from launch import prepare  # noqa: E402
from launch.compose import compose  # noqa: E402


def top1(experiment: str, seed: int, overrides: list[str]) -> float:
    words = [f"+exp={experiment}", f"seed={seed}", *overrides]
    (composed,) = compose(words)
    run = prepare.plan(composed).run
    subprocess.run(
        [sys.executable, "launch/local.py", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return float(json.loads(run.result.read_text())["top1"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("words", nargs="+", help="experiments, and settings for all of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "wirings.json")
    options = parser.parse_intermixed_args()
    settings = [word for word in options.words if "=" in word]
    found = {
        word: [top1(word, seed, settings) for seed in range(options.seeds)]
        for word in options.words
        if "=" not in word
    }
    rows = Table("Experiment", *(f"seed {seed}" for seed in range(options.seeds)), "mean")
    for experiment, accuracies in found.items():
        mean = statistics.mean(accuracies)
        rows.add_row(experiment, *(f"{accuracy:.2f}" for accuracy in accuracies), f"{mean:.2f}")
    Console().print(rows)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
