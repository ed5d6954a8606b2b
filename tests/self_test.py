"""The self-test, typed as a user types it or made here, and what it came to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from worker import ROOT, SERVER, redirect

from dnw.compose import training as composed
from dnw.runs.folder import Run
from dnw.self_test import compare
from launch.node.job import Job
from launch.node.signals import StopRequests
from launch.node.topology import LOOPBACK, Node
from launch.self_test import cases, findings, series
from launch.self_test.bench import Bench
from launch.self_test.cases import FAMILIES, Case
from launch.self_test.checks import NAMES
from launch.self_test.findings import Record

# What a check says of the fault that self_test.faults puts in, as regular expressions.
WHY = {
    "trained": "on cuda$",
    **{f"resumed_{precision}": rf"killed-{precision}\.\d differs in" for precision in ("fp32", "bf16")},
    **{f"repeated_{family}": rf"{family}-again\.\d differs in" for family in FAMILIES},
    "exact": r"exact-2\.\d differs in",
    "step": r"gradients 2\.0e-02",
    "waiting": r"aten\._local_scalar_dense",
    "stopped_step": "not saved in the time granted after SIGTERM",
    "stopped_evaluation": "not saved in the time granted after SIGTERM",
    "batches": "1 of 16 micro-batches differ",
    "speed": "of a step, 1 loaders",
    "ties": "choices differ",
    "nodes": "a product of known values came out wrong",
    "across_fast": "the same samples, losses apart by",
    "across_exact": r"exact-2-nodes\.\d differs in",
}


class Here(Bench):
    """A bench that trains each case with one process that no launcher starts, in place of all processes."""

    @classmethod
    def of_two(cls, folder: Path) -> Here:
        """Stand for two nodes with a process each; images are written."""
        base = composed(["+exp=self_test", "data.workers=0"])
        node = Node(0, 2, LOOPBACK, "-", 0, ("n1", "n2"), in_slurm=False)
        stop = StopRequests(impatient=False)
        here = cls(Run(folder), 1, node, Job(folder, 2, 1, 60), lambda *_: None, stop, base)
        series._write_images(here)
        return here

    def differences(self, one: Run, other: Run) -> list[str]:
        return compare.differences(one, other)

    def forget(self, name: str) -> None:
        """Have a case trained again by the next attempt."""
        self.attempt += 1
        cases.done(self.whole, name).result.unlink()

    def _work(self, case: Case, run: Run) -> None:
        process = SERVER.Process(target=_train, args=(str(run.folder),))
        process.start()
        process.join(timeout=300)
        assert process.exitcode == 0, (run.folder / "printed").read_text()


def _train(folder: str) -> None:
    from dnw import train

    redirect(Path(folder, "printed"))
    raise SystemExit(train.main([folder]))


def typed(program: str, here: Path, environment: Mapping[str, str], *words: str) -> tuple[int, str]:
    """Type `launch/PROGRAM.py +exp=self_test` in a folder; the exit code and what was printed."""
    line = [sys.executable, str(ROOT / "launch" / f"{program}.py"), "+exp=self_test", *words]
    done = subprocess.run(
        line,
        cwd=here,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def the_run(here: Path) -> Run:
    (folder,) = (here / "runs" / "self_test").iterdir()
    return Run(folder)


def records(run: Run) -> dict[str, Record]:
    return {record.check: record for record in findings.read(run, NAMES)}


def unexplained(run: Run) -> dict[str, str]:
    """What failed checks have said that WHY doesn't expect."""
    failed = {name: one for name, one in records(run).items() if one.state == "failed"}
    said = {name: f"{one.figure}; held to: {one.tolerance}" for name, one in failed.items()}
    return {name: text for name, text in said.items() if not re.search(WHY[name], text)}


def states(run: Run) -> dict[str, str]:
    return {name: record.state for name, record in records(run).items()}


def told(run: Run) -> str:
    """All there is to say of a self-test that didn't come out as it should."""
    logs = [path.read_text()[-3000:] for path in sorted(run.folder.glob("cases/*/launcher.log"))]
    found = [json.dumps(record.__dict__) for record in records(run).values()]
    ledger = run.attempts.read_text() if run.attempts.exists() else "no attempt"
    return "\n".join([*found, ledger, *logs])
