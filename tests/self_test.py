"""The self-test, typed as a user types it, and what it came to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from worker import ROOT

from dnw.runs.folder import Run
from launch.self_test import findings
from launch.self_test.checks import NAMES
from launch.self_test.findings import Record


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


def states(run: Run) -> dict[str, str]:
    return {name: record.state for name, record in records(run).items()}


def told(run: Run) -> str:
    """All there is to say of a self-test that didn't come out as it should."""
    logs = [path.read_text()[-3000:] for path in sorted(run.folder.glob("cases/*/launcher.log"))]
    found = [json.dumps(record.__dict__) for record in records(run).values()]
    ledger = run.attempts.read_text() if run.attempts.exists() else "no attempt"
    return "\n".join([*found, ledger, *logs])
