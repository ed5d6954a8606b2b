"""What the nodes of a large job ask of their file system while they wait for one another, and for how long.

    python bench/large_job.py                       64 and 512 followers; 8 minutes
    python bench/large_job.py --followers 16 --answers 0

Each node is a process that runs the real job of a node (launch/node/job.py), in a run folder on this machine.
In place of torchrun's agent and its workers stands `sleep`; in place of Slurm's commands, a script that
answers after so many seconds (--answers). The first node comes after the others (--late). In the first
attempt one node's agent is killed (after --work), the second ends well.

What is counted, by node and second, is what a file server would be asked for, by a path in the run folder: an
opening (with reading and closing), a look at a name, a listing, a name made, changed or removed. "Waiting" is
the time before the first node comes, "working" that between the last node's start and the failure. Prints a
table, writes bench/out/large_job.json (--out).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from dnw.compose import training  # noqa: E402
from dnw.config import dump  # noqa: E402
from dnw.runs import ledger  # noqa: E402
from dnw.runs.folder import Run  # noqa: E402
from launch.node.job import Job  # noqa: E402
from launch.node.topology import Node  # noqa: E402

COMMANDS = ("scontrol", "squeue", "sacct", "sinfo")
ANSWER = '#!/bin/sh\necho "$0" >>{calls}\nsleep {seconds}\nexit 1\n'
NAMES = (
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
)  # as audit hooks have them


class Operations:
    """When this process asked something by a path in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.times: list[float] = []
        look = os.stat

        def stat(path: Any, *words: Any, **options: Any) -> os.stat_result:
            self._note(path)
            return look(path, *words, **options)

        os.stat = stat  # no audit hook tells of it
        sys.addaudithook(lambda event, said: self._note(said[0]) if event in {"open", *NAMES} else None)

    def _note(self, path: object) -> None:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._folder):
            self.times.append(time.time())


@dataclass(frozen=True)
class Nodes(Job):
    """A job whose agents sleep, and note when they were started."""

    notes: str = ""  # a folder outside of the run
    work_s: float = 0  # of the first attempt, until one node fails, and of the second

    def command(self, node: Node, attempt: int, port: int) -> list[str]:
        """Return what stands for the agent; one fails in the first attempt."""
        Path(self.notes, f"start-{attempt}-{node.rank}").write_text(str(time.time()))
        script = "exec sleep 600"
        if attempt == 1 and node.rank == node.count // 2:
            script = f"sleep {self.work_s}; date +%s.%N >{self.notes}/failed; kill -9 $$"
        if attempt > 1:
            script = f"sleep {self.work_s}; echo '{{}}' >{self.folder}/result.json"
        return ["sh", "-c", script]


def node(
    rank: int, count: int, folder: Path, notes: Path, commands: Path, options: argparse.Namespace
) -> None:
    """What runs on one of them."""
    os.environ |= {
        **{"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": str(count)},
        **{
            "SLURM_JOB_NODELIST": f"n[1-{count}]",
            "SLURM_NODEID": str(rank),
            "SLURMD_NODENAME": f"n{rank + 1}",
        },
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }
    output = os.open(notes / f"said-{rank}", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if rank == 0:
        time.sleep(options.late)
    asked = Operations(folder)
    (notes / f"up-{rank}").write_text(str(time.time()))
    with contextlib.suppress(SystemExit):
        Nodes(folder, count, 1, 60, notes=str(notes), work_s=options.work)()
    (notes / f"asked-{rank}").write_text(json.dumps(asked.times))
    os._exit(0)


def simulated(followers: int, answer_s: float, here: Path, options: argparse.Namespace) -> dict[str, float]:
    """One job: figures by what they say."""
    run, notes, commands = Run(here / "run"), here / "notes", here / "bin"
    for one in (run.code, notes, commands):
        one.mkdir(parents=True)
    run.config.write_text(dump(training(["+exp=demo_dnw"])))
    for name in COMMANDS:
        (commands / name).write_text(ANSWER.format(calls=here / "calls", seconds=answer_s))
        (commands / name).chmod(0o755)
    count = followers + 1
    places = [(rank, count, run.folder, notes, commands, options) for rank in range(count)]
    processes = [multiprocessing.get_context("fork").Process(target=node, args=place) for place in places]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    reasons = [attempt.reason for attempt in ledger.read(run)]
    if reasons != ["killed", "done"] or "torch" in sys.modules:
        raise RuntimeError(f"{reasons}, {(notes / 'said-0').read_text()}")
    return figures(notes, count, (here / "calls").read_text().count("\n"))


def figures(notes: Path, count: int, calls: int) -> dict[str, float]:
    """Return what came out, from what the nodes have noted."""

    def times(name: str) -> list[float]:
        return [float((notes / f"{name}-{rank}").read_text()) for rank in range(count)]

    up, first, second = times("up"), times("start-1"), times("start-2")
    failed = float((notes / "failed").read_text())
    asked = [json.loads((notes / f"asked-{rank}").read_text()) for rank in range(count)]
    return {
        **rates("waiting", asked[1:], max(up[1:]) + 1, up[0]),
        **rates("working", asked, max(first) + 1, failed),
        "first node to first start, s": min(first) - up[0],
        "first to last start, s": max(first) - min(first),
        "failure to first start again, s": min(second) - failed,
        "failure to last start again, s": max(second) - failed,
        "in all": sum(map(len, asked)) / count,
        "asked of the controller": calls,
    }


def rates(phase: str, asked: list[list[float]], begin: float, end: float) -> dict[str, float]:
    """Return the operations a second in a part of the time: of all nodes, and of the one that asked most."""
    inside = [[one for one in times if begin <= one < end] for times in asked]
    seconds = Counter(int(one - begin) for one in itertools.chain(*inside))
    return {
        f"{phase}: a second and node": max(map(len, inside)) / (end - begin),
        f"{phase}: a second": sum(map(len, inside)) / (end - begin),
        f"{phase}: in the worst second": max(seconds.values(), default=0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--followers", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--answers", type=float, nargs="+", default=[0, 2], help="seconds")
    parser.add_argument("--late", type=float, default=20, help="seconds that the first node comes later")
    parser.add_argument("--work", type=float, default=30, help="seconds of each attempt")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "large_job.json")
    options = parser.parse_args()
    record: dict[str, dict[str, float]] = {}
    for followers, answer_s in itertools.product(options.followers, options.answers):
        with tempfile.TemporaryDirectory() as folder:
            name = f"{followers}, answers after {answer_s:g} s"
            record[name] = simulated(followers, answer_s, Path(folder), options)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    table = Table("followers", *record)
    for what in next(iter(record.values())):
        table.add_row(what, *(f"{found[what]:.1f}" for found in record.values()))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
