"""`make demo`: the whole way once, on real images, by the commands that a user types.

Writes shards of Fashion-MNIST, trains the tiny network with a random wiring and with a discovered one on
this machine's two first cores, kills the second training in the middle on purpose, types the same command
again, and ends with the paper's table. Typed again, it shows what is there already.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # the project, so that nothing need be installed

from rich.console import Console  # noqa: E402
from rich.progress import Progress, TextColumn, TimeElapsedColumn  # noqa: E402

from dnw import config, jsonl, ledger  # noqa: E402
from dnw.run import Run  # noqa: E402
from launch.submission import state  # noqa: E402
from launch.table import table  # noqa: E402
from shards.errors import ShardError  # noqa: E402
from shards.index import Index  # noqa: E402

SHARDS = Path("data/fashion_mnist")
PROCESSES = 2
KILL_AT = 100

NEXT = """
What to type next
  tensorboard --logdir runs                                         the curves and wirings of both runs
  python -m dnw.evaluate {run}
  python -m dnw.profile +exp=imagenet_dnw width=0.225               what the paper's large network costs
  python launch/local.py +exp=demo_dnw nproc=2 seed=1               again, with another seed; Ctrl-C and retype it
  python launch/slurm.py +exp=imagenet_dnw nodes=2 dry_run=true     what Slurm would be handed
  python launch/slurm.py --help
"""

console = Console(highlight=False, markup=False)


def main() -> int:
    """Run the demo; 0 if the table was printed."""
    parser = argparse.ArgumentParser(prog="launch/demo.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--images", default="auto", help="a folder that holds Fashion-MNIST; default: it is fetched"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    began_s = time.monotonic()
    _write_shards(options.images)
    random = _train("demo_random")
    discovered = _train("demo_dnw", kill_at=KILL_AT)
    console.print()
    console.print(table([random, discovered]))
    console.print(f"The wiring that was discovered: {discovered.wiring.relative_to(ROOT)}")
    console.print(f"All of this took {time.monotonic() - began_s:.0f} s.")
    console.print(NEXT.format(run=discovered.folder.relative_to(ROOT)))
    return 0


def _write_shards(images: str) -> None:
    try:
        for split in ("train", "val"):
            Index.load(SHARDS, split)
        console.print(f"{SHARDS}: shards are there already")
    except ShardError:
        _type("-m", "shards.write", "fashion_mnist", images, str(SHARDS))


def _train(experiment: str, kill_at: int | None = None) -> Run:
    """Submit a run to this machine and wait for its end; kill it at a step, and submit it again."""
    words = ("launch/slurm.py", f"+exp={experiment}", "cluster=local", f"nproc={PROCESSES}")
    run = _submit(*words)
    if kill_at is not None and not run.result.exists() and _wait(run, until=kill_at):
        _kill(run)
        _submit(*words)
    _wait(run)
    return run


def _submit(*words: str) -> Run:
    """Type a submit command; the run that it names, by what is the newest folder of its experiment."""
    _type(*words)
    experiment = words[1].removeprefix("+exp=")
    folders = (Path("runs") / experiment).glob("default-*")
    return Run(max(folders, key=lambda folder: folder.stat().st_mtime).resolve())


def _type(*words: str) -> None:
    console.print(f"\n$ python {shlex.join(words)}", style="bold")
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode:
        sys.exit(f"make demo: that command failed with exit code {done.returncode}; see above")


def _kill(run: Run) -> None:
    """SIGKILL to a worker, as the kernel or a power cut would: nothing is saved, nothing said."""
    newest = ledger.last(run)
    assert newest is not None
    assert newest.start is not None
    console.print(
        f"Killing worker {newest.start['pid']} now, on purpose, with SIGKILL. It saves nothing; "
        "the same command goes on after its last checkpoint:",
        style="bold red",
    )
    os.kill(newest.start["pid"], signal.SIGKILL)
    while state(run)[0] == "running":
        time.sleep(0.2)


def _wait(run: Run, until: int | None = None) -> bool:
    """Show a run's progress until it is done (False) or has passed a step (True)."""
    steps = config.load(run.config).steps
    columns = (TextColumn("{task.fields[step]:>4}/{task.total}"), *Progress.get_default_columns())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("steps", total=steps, step=0)
        while not run.result.exists():
            lines = [line for line in jsonl.read(run.metrics) if line["kind"] == "train"]
            step = lines[-1]["step"] if lines else 0
            progress.update(task, completed=step, step=step)
            if until is not None and step >= until:
                return True
            _check_alive(run)
            time.sleep(0.25)
    for attempt in ledger.read(run):
        start, end = attempt.start or {}, attempt.end or {}
        console.print(
            f"  attempt {attempt.number}: from step {start.get('step')}, {end.get('reason', 'finishing')}"
            f" {end.get('detail', '')}"
        )
    return False


def _check_alive(run: Run) -> None:
    """End the demo if the attempt ended without a result."""
    newest = ledger.last(run)
    if (
        newest
        and newest.end
        and newest.end["reason"] not in {"done"}
        and newest.end["time"] > _submitted(run)
    ):
        sys.exit(f"make demo: the training failed: {newest.end.get('detail')}; see {run.logs}")


def _submitted(run: Run) -> float:
    return run.launch.stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
