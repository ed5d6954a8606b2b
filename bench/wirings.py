"""Wirings compared: the same network with the same budget for the same steps, over several seeds.

python bench/wirings.py demo_random demo_dnw nproc=2
python bench/wirings.py cifar_random cifar_no_update cifar_dnw data=fashion_mnist steps=200 batch=64
python bench/wirings.py demo_dnw demo_dnw+optim.lr=0.02 demo_dnw+optim.lr=0.02+wiring.swaps=0.01 nproc=2

Each row is an experiment, with settings of its own behind +; the other words are settings of all rows.
Prints top-1 of each seed, their mean and their deviation; writes bench/out/wirings.json (--out). Needs the
shards of Fashion-MNIST in data/fashion_mnist (make demo writes them). Runs that are done are not repeated.

python bench/wirings.py --study
python bench/wirings.py --study --networks mobilenet --only random,no_update,dnw --steps 200 --seeds 3

The study trains every wiring, and dnw with each remedy, on two networks for the same epochs at several rates,
as sweeps of launch/local.py (--slurm: of launch/slurm.py). A sixth of the training images is held out, and
chooses each one's rate; results are on the test images. Killed and typed again it goes on. Writes
bench/out/study.md, .json, .png (--out). docs/study.md has the results.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from rich.text import Text  # noqa: E402

from bench.study import study  # noqa: E402
from launch import prepare  # noqa: E402
from launch.compose import compose  # noqa: E402
from shards import command  # noqa: E402


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


@command.answers()
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "words", nargs="*", help="EXPERIMENT[+SETTING=VALUE...], and settings for all of them"
    )
    parser.add_argument("--study", action="store_true", help="all wirings, at each one's best rate")
    parser.add_argument("--seeds", type=command.positive, help="[3; with --study 2]")
    parser.add_argument(
        "--out", type=command.path, help="[bench/out/wirings.json; with --study bench/out/study]"
    )
    study.options(parser)
    options = parser.parse_intermixed_args()
    name = "study" if options.study else "wirings.json"
    options.out = options.out or ROOT / "bench" / "out" / name
    if options.study:
        options.seeds = options.seeds or 2
        signal.signal(signal.SIGTERM, study.stop)
        return study.study(options)
    rows = [word for word in options.words if "=" not in word.partition("+")[0]]
    if not rows:
        parser.error("name experiments, or --study")
    compare(rows, [word for word in options.words if word not in rows], options.seeds or 3, options.out)
    return 0


def compare(rows: list[str], settings: list[str], seeds: int, out: Path) -> None:
    """Train each row with each seed; print and write what came out."""
    found = {row: [top1(row, seed, settings) for seed in range(seeds)] for row in rows}
    table = Table("Experiment", *(f"seed {seed}" for seed in range(seeds)), "mean", "deviation")
    for row, accuracies in found.items():
        of_all = statistics.mean(accuracies), statistics.pstdev(accuracies)
        table.add_row(Text(row), *(f"{number:.2f}" for number in (*accuracies, *of_all)))
    Console().print(table)
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
