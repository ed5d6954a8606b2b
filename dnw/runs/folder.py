"""The run folder: every name in it is composed here and nowhere else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from shards.files.regular_file import read_bytes


def signature_in(name: str) -> str:
    """Return the signature in the name of a run; the words before it are for people, and may be others."""
    return name.rpartition("-")[2]


@dataclass(frozen=True)
class Run:
    """One run on disk: what it is, what it wrote, what became of it."""

    folder: Path

    @property
    def name(self) -> str:
        """How people call it: <exp>/<what was overridden>-<signature>."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def config(self) -> Path:
        """The frozen training configuration."""
        return self.folder / "config.yaml"

    @property
    def classes(self) -> Path:
        """The names of its classes, where they are known: dnw/runs/class_names.py."""
        return self.folder / "classes.json"

    @property
    def launch(self) -> Path:
        """How it was launched last: the cluster part, which may change from attempt to attempt."""
        return self.folder / "launch.json"

    @property
    def code(self) -> Path:
        """The code that was submitted; every attempt runs it (frozen_code.py)."""
        folder = self.folder / "code"
        return folder if folder.is_dir() else self.folder / "code.zip"

    def code_before(self, attempt: int) -> Path:
        """Return where the code lies that was used until this attempt, before code=new replaced it."""
        folder = self.folder / f"code-before-{attempt:03d}"
        return folder if folder.is_dir() else folder.with_suffix(".zip")

    @property
    def slurm(self) -> Path:
        """submitit's files, the sbatch script among them."""
        return self.folder / "slurm"

    @property
    def logs(self) -> Path:
        """What workers printed, a file per attempt and node."""
        return self.folder / "logs"

    def log(self, attempt: int, node: int) -> Path:
        """Return what the workers of one node printed in one attempt."""
        return self.logs / f"{attempt:03d}-{node}.log"

    @property
    def checkpoints(self) -> Path:
        """step-*.pt, best.pt, init.pt; step-*.pt.damaged, should there be any."""
        return self.folder / "checkpoints"

    @property
    def claims(self) -> Path:
        """A folder of the attempt at work, in which it writes what it will publish."""
        return self.folder / "claims"

    @property
    def attempts(self) -> Path:
        """The ledger: a JSON line when an attempt starts, and one when it ends."""
        return self.folder / "attempts.jsonl"

    @property
    def metrics(self) -> Path:
        """A JSON line per log interval and per evaluation."""
        return self.folder / "metrics.jsonl"

    @property
    def digests(self) -> Path:
        """What each micro-batch held, where log.digests asks for it."""
        return self.folder / "digests.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "tb"

    @property
    def tracking(self) -> Path:
        """The run's identity at trackers, what their processes print, and wandb's files, if offline."""
        return self.folder / "tracking"

    @property
    def sweep(self) -> Path:
        """The name of the sweep that it is one of, if it is."""
        return self.folder / "sweep.txt"

    @property
    def profile(self) -> Path:
        """What torch's profiler recorded, for each rank: rank-*.json.gz, a trace, and rank-*.txt, tables."""
        return self.folder / "profile"

    @property
    def wiring(self) -> Path:
        """The discovered wiring as a picture."""
        return self.folder / "wiring.png"

    @property
    def result(self) -> Path:
        """There once the run is done, and only then."""
        return self.folder / "result.json"

    @property
    def unfit(self) -> Path:
        """What nodes have left that could not start: launch/node/start.sh."""
        return self.folder / "unfit"

    @property
    def lock(self) -> Path:
        """Held by the attempt that works on the run."""
        return self.folder / "lock"


def finished(run: Run) -> bool:
    """Whether a run is done, and both its last weights and those it began with are there."""
    if not run.result.exists() or not (run.checkpoints / "init.pt").exists():
        return False
    return bool(newest_step(run.checkpoints) == json.loads(read_bytes(run.result))["steps"])


def newest_step(checkpoints: Path) -> int | None:
    """Return the last step that there is a checkpoint of, whole or not; None before the first."""
    return max(steps(checkpoints), default=None)


def step_path(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return checkpoints / f"step-{step:08d}.pt"


def steps(checkpoints: Path) -> list[int]:
    """Return the steps there are checkpoints of, rising."""
    there = checkpoints.iterdir() if checkpoints.exists() else ()  # glob finds nothing where it may not look
    names = (re.fullmatch(r"step-(\d{8})\.pt", path.name) for path in there)
    return sorted(int(name[1]) for name in names if name)
