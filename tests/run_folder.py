"""Run folders made by hand, and stand-ins for Slurm's commands that say what they are told to."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from example import train

from dnw.config import dump
from dnw.runs import jsonl
from dnw.runs.folder import Run
from launch.cluster.submission import Submission

STAND_IN = """#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$LAB/calls"
case "$*" in *%Q*) name=places; [ -e "$LAB/$name.out" ] || exit 0 ;; esac
/bin/cat "$LAB/$name.err" >&2
/bin/cat "$LAB/$name.out"
exit "$(/bin/cat "$LAB/$name.code")"
"""


@dataclass(frozen=True)
class Slurm:
    """Commands in PATH that note how they were called."""

    lab: Path

    def says(self, command: str, out: str = "", err: str = "", code: int = 0) -> None:
        """What a command prints from now on; one that was not mentioned is not found.

        `places` is what squeue prints where it is asked for priorities; if not mentioned, nothing.
        """
        for kind, text in (("out", out), ("err", err), ("code", str(code))):
            (self.lab / f"{command}.{kind}").write_text(text)
        path = self.lab / "bin" / command
        path.write_text(STAND_IN)
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """Each command as it was typed."""
        path = self.lab / "calls"
        return path.read_text().splitlines() if path.exists() else []


def slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """No command of Slurm's is found, but those that are told what to say."""
    (folder / "lab" / "bin").mkdir(parents=True)
    monkeypatch.setenv("LAB", str(folder / "lab"))
    monkeypatch.setenv("PATH", str(folder / "lab" / "bin"))
    return Slurm(folder / "lab")


def make(runs_dir: Path, name: str = "default-0123456789", exp: str = "example", **changes: Any) -> Run:
    """A prepared run."""
    run = Run(runs_dir / exp / name)
    for folder in (run.logs, run.slurm, run.checkpoints):
        folder.mkdir(parents=True)
    run.config.write_text(dump(train(exp=exp, **changes)))
    return run


def submit(run: Run, job: str, cluster: str = "slurm", at: float | None = None, **facts: Any) -> Submission:
    """Note a submission, made now or `at` a time."""
    folder = run.slurm / "1"
    folder.mkdir(exist_ok=True)
    made = {
        "cluster": cluster,
        "job": job,
        "host": socket.gethostname(),
        "time": time.time() if at is None else at,
        "nodes": 2,
        "nproc": 2,
        "folder": str(folder),
        "settings": {"grace_s": 120},
        **facts,
    }
    one = Submission(**made)
    one.write(run)
    return one


def note(run: Run, attempt: int, event: str, at: float, **facts: Any) -> None:
    """A line of the ledger."""
    jsonl.append(run.attempts, {"time": at, "attempt": attempt, "event": event, **facts})


def log(run: Run, step: int, kind: str = "train", **facts: Any) -> None:
    """A line of metrics.jsonl."""
    values = {"loss": 1.5, "top1": 40.0, "lr": 0.1, "images_per_second": 64.0, "epoch": step / 10}
    jsonl.append(run.metrics, {"step": step, "kind": kind, **values, **facts})


def finish(run: Run, **facts: Any) -> None:
    """Its result."""
    run.result.write_text(json.dumps({"steps": 10, "top1": 61.5, "loss": 1.1, **facts}))
