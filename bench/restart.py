"""What a restart, a checkpoint and preemptions cost, measured on a job of this machine's local executor.

    python bench/restart.py                                    the 32 px MobileNetV1-like one; 4 minutes
    python bench/restart.py static_dnw data=fashion_mnist --minutes 1 5 15

1. A worker is killed, again and again: from the kill to the next attempt's first step, in parts, beside what
   torchrun takes for a bare script: import torch, join the process group, one step of a 2x2 layer in DDP.
2. Checkpoints: how long training stands still for one, and when it is on the disk.
3. With --minutes: goodput of a run that is stopped and started again every so many minutes, twice each.
4. On paper, from 1 and 2: the interval that pays (Young's formula) and the goodput on 8, 64 and 512 GPUs.

Words without = name the experiment, the others set something. Needs the shards of Fashion-MNIST in
data/fashion_mnist (make demo writes them). Prints tables, writes bench/out/restart.json (--out).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw.runs import jsonl, ledger  # noqa: E402
from dnw.runs.goodput import goodput  # noqa: E402
from dnw.training import checkpoint_interval  # noqa: E402
from launch import prepare  # noqa: E402
from launch.compose import compose  # noqa: E402
from shards.command import amount  # noqa: E402

USUAL = ["cifar_dnw", "data=fashion_mnist", "data.augment=none"]
ENDLESS = ["steps=1000000", "cluster=local", "watchdog.seconds=0"]
PATIENCE_S = 300.0
NODE_HOURS = 1000.0  # between two failures of a node of eight GPUs: an assumption
DEFAULT_INTERVAL_S = 600.0
BARE = """
import torch
torch.distributed.init_process_group("gloo")
layer = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
layer(torch.ones(2, 2)).sum().backward()
optimizer.step()
torch.distributed.destroy_process_group()
"""


class Job:
    """A run on the local executor, as somebody at a terminal starts and stops it."""

    def __init__(self, words: list[str], folder: Path, every: str) -> None:
        self._words = [*words, *ENDLESS, every, f"runs_dir={folder}"]
        (composed,) = compose(self._words)
        self.run = prepare.plan(composed).run

    def start(self) -> None:
        self._type("launch/slurm.py", *self._words)

    def stop(self) -> None:
        self._type("launch/runs.py", "cancel", str(self.run.folder))

    def event(self, attempt: int, event: str) -> dict[str, Any]:
        """The record of an attempt's event, as soon as there is one."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            for record in jsonl.read(self.run.attempts):
                if (record["attempt"], record["event"]) == (attempt, event):
                    return record
            time.sleep(0.02)
        raise TimeoutError(f"{self.run.folder}: no {event!r} of attempt {attempt} after {PATIENCE_S:g} s")

    def saves(self) -> list[dict[str, Any]]:
        return [line for line in jsonl.read(self.run.metrics) if line["kind"] == "save"]

    @staticmethod
    def _type(*words: str) -> None:
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def killed(job: Job, attempt: int) -> dict[str, float]:
    """Kill the first worker of an attempt that has saved; seconds until each event of the next one."""
    pid = job.event(attempt, "start")["pid"]
    before = len(job.saves())
    while len(job.saves()) == before:
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    at = time.time()
    return {event: job.event(attempt + 1, event)["time"] - at for event in ("claim", "start", "step")}


def bare_script(nproc: int, folder: Path) -> float:
    """Seconds that torchrun takes for workers that import torch, meet, do one tiny step of DDP, and end."""
    script = folder / "bare.py"
    script.write_text(BARE)
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={nproc}", script],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return time.monotonic() - began


def restarts(words: list[str], options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        job = Job([*words, f"nproc={options.nproc}"], Path(folder), f"checkpoint.every_steps={options.every}")
        job.start()
        try:
            parts = [killed(job, attempt + 1) for attempt in range(options.kills)]
        finally:
            job.stop()
        bare = [bare_script(options.nproc, Path(folder)) for _ in range(options.kills)]
        saves = job.saves()
    found = {event: statistics.median(part[event] for part in parts) for event in parts[0]}
    costs = {name: statistics.median(save[name] for save in saves) for name in ("seconds", "stalled")}
    return {**found, "bare": statistics.median(bare), **costs, "mib": saves[-1]["bytes"] / 2**20}


def preempted(words: list[str], minutes: float, nproc: int) -> dict[str, Any]:
    """The goodput of a run that is stopped every so many minutes of allocation."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job([*words, f"nproc={nproc}"], Path(folder), "checkpoint.every=auto")
        for attempt in (1, 2):
            job.start()
            claimed = job.event(attempt, "claim")["time"]
            time.sleep(max(0.0, claimed + 60 * minutes - time.time()))
            job.stop()
            job.event(attempt, "end")
        assert [one.reason for one in ledger.read(job.run)] == ["stopped", "stopped"]
        return dataclasses.asdict(goodput(job.run))


def on_paper(found: dict[str, Any], gpus: int) -> dict[str, float]:
    """Interval and goodput where nodes fail now and then and a restart takes as long as here."""
    between_s = 3600 * NODE_HOURS / (gpus / 8)
    every_s = checkpoint_interval.young(found["stalled"], between_s)
    every_s = min(
        max(every_s, found["seconds"] / checkpoint_interval.DISK_SHARE), checkpoint_interval.LONGEST_S
    )
    lost = found["stalled"] / every_s + (every_s / 2 + found["step"]) / between_s
    return {"between_h": between_s / 3600, "every_s": every_s, "share": 1 - lost}


def show(record: dict[str, Any]) -> None:
    found, console = record["restart"], Console()
    parts = Table("from the kill to", "s")
    for name, what in (("claim", "the next attempt's claim"), ("start", "its checkpoint is loaded")):
        parts.add_row(what, f"{found[name]:.2f}")
    parts.add_row("the end of its first step", f"{found['step']:.2f}")
    parts.add_row("a bare script under torchrun, whole", f"{found['bare']:.2f}")
    console.print(parts)
    console.print(
        f"a checkpoint of {found['mib']:.1f} MiB: training stands still for {1e3 * found['stalled']:.1f} ms, "
        f"{found['stalled'] / DEFAULT_INTERVAL_S:.3%} of {DEFAULT_INTERVAL_S:g} s; "
        f"on the disk after {1e3 * found['seconds']:.0f} ms"
    )
    stopped = Table("stopped every", "goodput", "start-up, s", "standstill, s", "lost, s")
    for minutes, one in record["goodput"].items():
        shares = (f"{one[part]:.1f}" for part in ("startup_s", "stalled_s", "lost_s"))
        stopped.add_row(f"{minutes} min", f"{one['share']:.1%}", *shares)
    if record["goodput"]:
        console.print(stopped)
    paper = Table("GPUs", "hours between failures", "checkpoint every", "goodput")
    for gpus, one in record["on paper"].items():
        paper.add_row(gpus, f"{one['between_h']:.1f}", f"{one['every_s']:.0f} s", f"{one['share']:.2%}")
    console.print(paper)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="an experiment, and settings")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--every", type=int, default=4, help="steps between two checkpoints, in 1 and 2")
    parser.add_argument("--minutes", type=amount, nargs="*", default=[])
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "restart.json")
    options = parser.parse_intermixed_args()
    experiment, *settings = options.words or USUAL
    words = [f"+exp={experiment}", *settings]
    record: dict[str, Any] = {"restart": restarts(words, options)}
    record["on paper"] = {str(gpus): on_paper(record["restart"], gpus) for gpus in (8, 64, 512)}
    record["goodput"] = {f"{m:g}": preempted(words, m, options.nproc) for m in options.minutes}
    show(record)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
