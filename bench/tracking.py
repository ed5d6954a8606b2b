"""What trackers cost a run: nothing, if it has none; and what one that feeds MLflow takes of its steps.

    python bench/tracking.py --images FOLDER

1. Import. Fresh processes import all that a job and its workers do, in turns with mlflow and wandb as they
   are installed here, and hidden: their processor time.
2. Steps. The same short run, in turns without trackers, once more so, and beside the process that feeds
   MLflow (a SQLite file) every 5 s: the time of a step, as metrics.jsonl has it.

FOLDER has shards of Fashion-MNIST, such as those of `make demo`. Prints ratios of the shortest times, writes
bench/out/tracking.json (--out).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw.runs import jsonl  # noqa: E402

HIDDEN = "sys.modules.update(dict.fromkeys(('mlflow', 'wandb')))"  # an import of them fails
IMPORT = """
import sys, time
sys.path.insert(0, "")
{before}
began = time.process_time()
import launch.node.job, dnw.train
print(time.process_time() - began)
assert not any(sys.modules.get(name) for name in ("mlflow", "wandb", "dnw.tracking.mlflow_tracker"))
"""
WORDS = ["+exp=demo_dnw", "nproc=1", "batch=32", "micro_batch=32", "data.workers=0", "log.every_steps=5"]
PLAIN, AGAIN, FED = "track=[tensorboard]", "the same again", "track=[tensorboard,mlflow]"


def import_s(before: str) -> float:
    """Return the processor time that a fresh process takes to import."""
    words = [sys.executable, "-c", IMPORT.format(before=before)]
    return float(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def step_s(images: Path, steps: int, track: str) -> float:
    """Return how long a step takes in a run: the median over its log, without the first line."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*WORDS, f"data.dir={images}", f"steps={steps}", f"runs_dir={folder}/runs", track]
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        printed = Path(folder) / "printed"
        with printed.open("wb") as output:
            done = subprocess.run(
                [sys.executable, str(ROOT / "launch" / "local.py"), *words],
                cwd=folder, env={**os.environ, **store}, stdout=output, stderr=output, check=False,
            )  # fmt: skip
        if done.returncode:
            raise SystemExit(printed.read_text())
        (log,) = Path(folder).glob("runs/*/*/metrics.jsonl")
        lines = [line for line in jsonl.read(log) if line["kind"] == "train"][1:]
    return statistics.median(1 / float(line["images_per_second"]) for line in lines)


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "tracking.json")
    given = parser.parse_args()
    imports: dict[str, list[float]] = {"installed": [], "hidden": []}
    steps: dict[str, list[float]] = {PLAIN: [], AGAIN: [], FED: []}
    for _ in range(given.turns):
        imports["installed"].append(import_s(""))
        imports["hidden"].append(import_s(HIDDEN))
        for name, times in steps.items():
            track = PLAIN if name == AGAIN else name
            times.append(step_s(given.images.resolve(), given.steps, track))
    found = {
        "import, installed / hidden": _ratio(imports["installed"], imports["hidden"]),
        f"step, {AGAIN} / {PLAIN}": _ratio(steps[AGAIN], steps[PLAIN]),
        f"step, {FED} / {PLAIN}": _ratio(steps[FED], steps[PLAIN]),
    }
    table = Table("time of", "ratio")
    for name, ratio in found.items():
        table.add_row(name.replace("[", "\\["), f"{ratio:.3f}")
    Console().print(table)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _ratio(these: list[float], those: list[float]) -> float:
    return round(min(these) / min(those), 3)


if __name__ == "__main__":
    sys.exit(main())
