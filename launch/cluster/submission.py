"""The newest submission of a run: what the cluster calls it, and what has become of it."""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dnw.runs.folder import Run
from launch.config import Launch
from launch.errors import LaunchError
from launch.pack.marks import Marks
from launch.scheduler.handover import UNKNOWN
from shards.atomic import replacing
from shards.files.regular_file import read_bytes


@dataclass(frozen=True)
class Submission:
    """Where a run went last; kept as launch.json in its folder."""

    cluster: str  # slurm, local, or foreground
    job: str  # a Slurm job id (ARRAY_INDEX in an array; UNKNOWN), or a process id on `host`
    host: str
    time: float  # seconds since 1970
    nodes: int
    nproc: int
    folder: str  # submitit's files
    settings: Mapping[str, Any]  # of the cluster
    words: Sequence[str] = ()  # that were typed
    attempts: int | None = None  # that the run had before it; None: not known, an earlier version wrote this
    after: Sequence[str] = ()  # folders of the runs that had to be done first, and were not
    pack: Sequence[str] = ()  # folders of all runs that share the job, if this one shares it

    @property
    def stop_command(self) -> str:
        """What ends it early, saving first."""
        return f"scancel {self.job}" if self.cluster == "slurm" else f"kill {self.job}"

    @property
    def is_known(self) -> bool:
        """Whether Slurm has said which job it made of it."""
        return not self.job.startswith(UNKNOWN)

    @property
    def marks(self) -> Marks:
        """What the job has noted of single runs that share it."""
        return Marks(Path(self.folder))

    @property
    def sharing(self) -> list[Run]:
        """The runs that the job works on, or is going to; none where it is a single run's."""
        runs = [Run(Path(folder)) for folder in self.pack]
        there = self.marks.unmarked(runs)
        return [run for run in runs if run in there]

    def identified(self, job: str) -> Submission:
        """Return the same, once it is known which job Slurm made of it."""
        return dataclasses.replace(self, job=self.job.replace(UNKNOWN, job))

    def write(self, run: Run) -> None:
        """Note it in the run folder."""
        record = asdict(self)
        for name in ("after", "pack"):
            if not record[name]:
                del record[name]  # for earlier versions, which don't know it
        with replacing(run.launch) as file:
            file.write((json.dumps(record, indent=1) + "\n").encode())


def submission(launch: Launch, cluster: str, job: str, folder: Path, words: Sequence[str] = ()) -> Submission:
    """Return the record of a submission made here and now.

    Args:
        launch: how it was submitted.
        cluster: where: slurm or local.
        job: its id there.
        folder: where submitit keeps what belongs to it.
        words: that were typed.
    """
    settings = {key: value for key, value in asdict(launch.cluster).items() if key != "name"}
    return Submission(
        cluster=cluster,
        job=job,
        host=socket.gethostname(),
        time=round(time.time(), 3),
        folder=str(folder),
        settings=settings,
        words=list(words),
        nodes=launch.nodes,
        nproc=launch.processes_per_node,
    )


def newest(run: Run) -> Submission | None:
    """Return the newest submission of a run, if there was any.

    Raises:
        LaunchError: the note of it is damaged.
    """
    if not run.launch.exists():
        return None
    try:
        return Submission(**json.loads(read_bytes(run.launch)))
    except (ValueError, TypeError) as error:
        raise LaunchError(
            f"{run.launch}: damaged, or another version's ({error}); delete it if no job works on this run"
        ) from None


def controller(last: Submission) -> int | None:
    """Return the process of submitit's local controller, if it is alive and on this machine.

    Its id alone wouldn't do: another process may have got the same since.
    """
    if last.cluster != "local" or last.host != socket.gethostname():
        return None
    try:
        words = Path("/proc", last.job, "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(last.job) if last.folder.encode() in words else None
