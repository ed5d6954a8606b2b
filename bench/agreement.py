"""What it takes of a training step that ranks tell each other how long they need, on local processes.

    python bench/agreement.py                                     demo_dnw and static_dnw on 2 processes
    python bench/agreement.py static_dnw --processes 4 --steps 50

Ranks agree after each step anyway, on stops and saves ("wishes"). With it travels each rank's own time, which
is measured and compared for that ("times"). Both kinds make --steps steps in turns in the same processes, on
images that are noise and there already. The ratio is the median of those within a turn, beside it their
quartiles; "least" is that of the fastest turns, on a machine that others use the one to look at. Prints a
table, writes bench/out/agreement.json (--out).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.ranks import Times, race  # noqa: E402
from dnw import models  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.hardware.stragglers import OwnTime, Stragglers  # noqa: E402
from dnw.training.data import Batch  # noqa: E402
from dnw.training.distributed import Agreement, World  # noqa: E402
from dnw.training.trainer import Trainer  # noqa: E402

SAMPLES = 50_000
EXPERIMENTS = ("demo_dnw", "static_dnw")
IMAGES = 8  # of each process
WISHES = [False, False, False]  # to stop, to save, that a state isn't finite


class WishesAlone(Agreement):
    """As it would be without times."""

    def exchange(self, *wishes: bool, own_s: float = 0.0) -> list[bool]:
        """State wishes."""
        mine = torch.tensor(wishes, dtype=torch.int32)
        answer = self.settle(len(wishes))
        work = dist.all_reduce(mine, op=dist.ReduceOp.MAX, async_op=True)
        assert work is not None
        self._asked = (work, mine)
        return answer


class Kind:
    """A trainer, and how its ranks agree."""

    def __init__(self, words: list[str], world: World, tells_times: bool) -> None:
        train = training(words)
        self.trainer = Trainer(train, models.build(train), world, SAMPLES)
        self.trainer.begin()
        self.trainer.own_time = OwnTime(world.device) if tells_times else None
        self.agreement = Agreement(world) if tells_times else WishesAlone(world)
        self.stragglers = Stragglers(world.size)

    def seconds(self, batch: Batch, steps: int) -> float:
        """Of a step, of several that all processes begin together."""
        self.trainer.world.barrier()
        began = time.perf_counter()
        for _ in range(steps):
            self.trainer.step(itertools.repeat(batch))
            own_s = self.trainer.own_time.take() if self.trainer.own_time else 0.0
            self.agreement.exchange(*WISHES, own_s=own_s)
            if self.trainer.world.is_first and self.agreement.times:
                self.stragglers.note(self.agreement.times)
        self.agreement.settle(len(WISHES))
        return (time.perf_counter() - began) / steps


def measured(world: World, words: list[str], turns: int, steps: int) -> Times:
    """What each of the processes does."""
    kinds = {name: Kind(words, world, name == "times") for name in ("wishes", "times")}
    data = training(words).data
    images = torch.randint(0, 256, (IMAGES, 3, data.image_size, data.image_size), dtype=torch.uint8)
    batch = Batch(images, torch.arange(IMAGES) % data.classes, torch.empty(0, dtype=torch.int64))
    found: Times = {name: [] for name in kinds}
    for turn in range(turns + 1):
        for name, kind in kinds.items() if turn % 2 else reversed(kinds.items()):
            took = kind.seconds(batch, steps)
            if turn > 0:  # the first allocates
                found[name].append(took)
    return found


def measure(experiment: str, options: argparse.Namespace) -> dict[str, float]:
    sizes = [f"batch={IMAGES * options.processes}", f"micro_batch={IMAGES}"]
    words = [f"+exp={experiment}", *sizes, "data.workers=0", "threads=1"]
    found = race(options.processes, measured, words, options.turns, options.steps)
    ratios = [b / a for a, b in zip(found["wishes"], found["times"], strict=True)]
    least, middle, most = statistics.quantiles(ratios, n=4)
    ms = {f"{kind}, ms": 1e3 * statistics.median(of) for kind, of in found.items()}
    fastest = min(found["times"]) / min(found["wishes"])
    return {**ms, "times to wishes": middle, "quartile": least, "and": most, "least": fastest}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="*", help="some experiments")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "agreement.json")
    options = parser.parse_args()
    record: dict[str, Any] = {one: measure(one, options) for one in options.experiments or EXPERIMENTS}
    table = Table("a step", *next(iter(record.values())))
    for experiment, found in record.items():
        table.add_row(experiment, *(f"{value:.3f}" for value in found.values()))
    Console().print(table)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
