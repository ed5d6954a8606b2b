"""`make demo`: the whole way once, on real images, by the commands that a user types.

Writes shards of Fashion-MNIST, trains the tiny network with a random wiring and with a discovered one, two
processes each, kills a worker of the second training half-way on purpose, and ends with the paper's table.
Typed again, it shows what is there already.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # the project, so that nothing need be installed

from shards import environment, terminal  # noqa: E402

if __name__ == "__main__":
    terminal.begin()

environment.require()

from rich.progress import Progress, TimeElapsedColumn  # noqa: E402

from dnw.config import ConfigError  # noqa: E402
from dnw.console import PlainConsole  # noqa: E402
from dnw.runs import jsonl, ledger, lock  # noqa: E402
from dnw.runs.folder import Run  # noqa: E402
from launch import prepare  # noqa: E402
from launch.commands.table import table  # noqa: E402
from launch.compose import compose  # noqa: E402
from launch.errors import LaunchError  # noqa: E402
from launch.gpus import visible_gpus  # noqa: E402
from launch.query.run_status import query_status  # noqa: E402
from shards import command  # noqa: E402
from shards.errors import ShardError  # noqa: E402
from shards.index import Index  # noqa: E402

SHARDS = Path("data/fashion_mnist")
PROCESSES = 2
POLL_S = 0.25

NEXT = """
What to type next
  python launch/runs.py tensorboard                                the curves and wirings of both runs
  python -m dnw.evaluate {run}
  python -m dnw.profile +exp=imagenet_dnw width=0.225              what the paper's large network costs
  python launch/local.py +exp=demo_dnw nproc=2 seed=1              another seed; Ctrl-C it, and type it again
  python launch/slurm.py +exp=demo_dnw nodes=2 dry_run=true        what Slurm would be handed
  python launch/slurm.py --help
(first: source .venv/bin/activate)"""

console = PlainConsole(soft_wrap=True)


@command.answers()
def main() -> int:
    """Run the demo; 0 if the table was printed."""
    parser = command.Parser(prog="launch/demo.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--images", default="auto", help="a folder that holds Fashion-MNIST; else it is fetched"
    )
    parser.add_argument(
        "overrides", nargs="*", help="for both trainings, such as steps=50 or runs_dir=FOLDER"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    began_s = time.monotonic()
    _write_shards(options.images)
    random = _train("demo_random", options.overrides, kill=False)
    discovered = _train("demo_dnw", options.overrides, kill=True)
    console.print()
    console.print(table([random, discovered]))
    console.print(f"The wiring that was discovered: {_shown(discovered.wiring)}")
    console.print(f"All of this took {time.monotonic() - began_s:.0f} s.")
    console.print(NEXT.format(run=_shown(discovered.folder)))
    return 0


def _write_shards(images: str) -> None:
    try:
        for split in ("train", "val"):
            Index.load(SHARDS, split)
        console.print(f"{SHARDS}: shards are there already")
    except ShardError:
        _type("-m", "shards.write", "fashion_mnist", images, str(SHARDS))


def _train(experiment: str, overrides: Sequence[str], kill: bool) -> Run:
    """Submit a run to this machine and wait for its end; kill a worker of it half-way."""
    words = [f"+exp={experiment}", "cluster=local", f"nproc={PROCESSES}", *_device(), *overrides]
    try:
        (composed,) = compose(words)
        plan = prepare.plan(composed)
    except (ConfigError, LaunchError) as error:
        sys.exit(f"make demo: {error}")
    steps = plan.train.steps
    assert steps is not None
    _type("launch/slurm.py", *words)
    if kill and _wait(plan.run, steps, until=steps // 2):
        _kill(plan.run)
    _wait(plan.run, steps)
    while lock.holder(plan.run.lock) is not None:  # the job's last word comes after the result
        time.sleep(POLL_S)
    _tell_attempts(plan.run)
    return plan.run


def _device() -> list[str]:
    """On the CPU where each process can't have a GPU of its own."""
    return ["cluster.gpus_per_node=0"] if 0 < len(visible_gpus()) < PROCESSES else []


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
    worker = newest.start["pid"]
    console.print(f"\nKilling worker {worker} now, on purpose: SIGKILL, it saves nothing.", style="bold red")
    console.print("The run goes on after its last checkpoint, by itself.")
    os.kill(worker, signal.SIGKILL)


def _wait(run: Run, steps: int, until: int | None = None) -> bool:
    """Show a run's progress until it is done (False) or has passed a step (True)."""
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(run.name, total=steps)
        while not run.result.exists():
            logged = [line["step"] for line in jsonl.read(run.metrics) if line["kind"] == "train"]
            progress.update(task, completed=logged[-1] if logged else 0)
            if until is not None and logged and logged[-1] >= until:
                return True
            _check_alive(run)
            time.sleep(POLL_S)
    return False


def _check_alive(run: Run) -> None:
    """End the demo if nobody works on the run any more."""
    ((found,), _) = query_status([run])
    if found.is_at_work or found.is_finished:
        return
    newest = ledger.last(run)
    why = (newest.end or {}).get("detail", "unknown") if newest else "it never began"
    sys.exit(f"make demo: the training failed: {why}; its logs: {_shown(run.logs)}")


def _tell_attempts(run: Run) -> None:
    for attempt in ledger.read(run):
        start, end = attempt.start or {}, attempt.end or {}
        detail = f" ({end['detail']})" if "detail" in end else ""
        console.print(f"attempt {attempt.number}: from step {start.get('step')}, {end.get('reason')}{detail}")


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
