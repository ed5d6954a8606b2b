"""What a training step asks of a GPU, counted without one: calls, bytes, products, and waits of the CPU.

    python bench/gpu_counts.py                               one experiment of each kind, in fp32 and bf16
    python bench/gpu_counts.py imagenet_dnw width=0.49 --images 128
    python bench/gpu_counts.py --accept                      lower the figures that tests hold

Steps are traced on a CUDA device that isn't there (tests/fake_cuda), which takes g++ but no GPU; a step has
one micro-batch, of 64 images if --images doesn't say otherwise. Calls are torch's operations that compute,
each of which launches a kernel or a few; views launch none. Bytes are all that these operations read and
write: a cache may save some. Products are those of matrices and convolutions, two operations for each
multiply-add. Nothing here is a time. Of continuous_* one step of the solver is counted, which on a GPU waits
after each. "On a rank of 2": with DistributedDataParallel, which scales each gradient into its bucket, and
sums; tests/fake_cuda/group.py says what of it isn't traced. Prints a table, writes bench/out/gpu_counts.json
(--out).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from fake_cuda import library  # noqa: E402

try:
    library.load()
except library.Missing as missing:
    sys.exit(str(missing))

from fake_cuda import steps  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw.compose import training  # noqa: E402

ACCEPTED = ROOT / "tests" / "golden" / "gpu_counts.json"
# one of each kind
EXPERIMENTS = (
    *("imagenet_dnw_x225", "resnet50_sparse", "cifar_dnw", "cifar_mobilenet_v1"),
    *("static_dnw", "discrete_dnw", "continuous_dnw"),
)
DISTRIBUTED = {"imagenet_dnw_x225"}  # also as one of two ranks with reduce=fast: what DDP adds
FIGURES = ("calls", "views", "bytes", "flops", "waits")


def count(experiment: str, precision: str, images: int, settings: list[str]) -> dict[str, dict[str, int]]:
    """Count a training step, and a batch of an evaluation; of some experiments also a step of DDP."""
    sizes = [f"micro_batch={images}", f"batch={images}", f"eval_batch={images}"]
    train = training([f"+exp={experiment}", f"precision={precision}", *settings, *sizes])
    found = steps.traced(train)._asdict()
    if experiment in DISTRIBUTED:
        whole = training(
            [f"+exp={experiment}", f"precision={precision}", *settings, *sizes, f"batch={2 * images}"]
        )
        found["training on a rank of 2"] = steps.traced(whole, world_size=2).training
    return {
        name: {
            "calls": sum(counts.calls.values()),
            "views": counts.views,
            "bytes": counts.bytes,
            "flops": counts.flops,
            "waits": len(counts.waits),
        }
        for name, counts in found.items()
    }


def lower(found: dict[str, dict[str, int]]) -> None:
    """Accept each figure that is new, or lower than the accepted one."""
    accepted: dict[str, dict[str, int]] = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    for name, figures in found.items():
        before = accepted.get(name, {})
        accepted[name] = {key: min(value, before.get(key, value)) for key, value in figures.items()}
    lines = (f"{json.dumps(name)}: {json.dumps(figures)}" for name, figures in accepted.items())
    ACCEPTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="experiments, and settings for all of them")
    parser.add_argument("--images", type=int, default=64, help="of a micro-batch")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="one alone")
    parser.add_argument("--accept", action="store_true", help=f"lower {ACCEPTED.relative_to(ROOT)}")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "gpu_counts.json")
    options = parser.parse_intermixed_args()
    settings = [word for word in options.words if "=" in word]
    experiments = [word for word in options.words if "=" not in word] or EXPERIMENTS
    found: dict[str, dict[str, int]] = {}
    rows = Table("experiment", "precision", "of", "calls", "views", "GB", "GFLOP", "waits")
    for experiment in experiments:
        for precision in [options.precision] if options.precision else ("fp32", "bf16"):
            for part, figures in count(experiment, precision, options.images, settings).items():
                found[f"{experiment} {precision} {part}"] = figures
                rows.add_row(experiment, precision, part, *_told(figures))
            print(f"{experiment} {precision}: counted", file=sys.stderr)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    Console(width=100).print(rows)
    if options.accept:
        lower(found)


def _told(figures: dict[str, Any]) -> list[str]:
    calls, views, moved, flops, waits = (figures[name] for name in FIGURES)
    return [str(calls), str(views), f"{moved / 1e9:.2f}", f"{flops / 1e9:.1f}", str(waits)]


if __name__ == "__main__":
    main()
