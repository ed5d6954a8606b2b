"""One run as people look at it: what the table, `--json` and the page all show."""

from __future__ import annotations

import math
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

from dnw.runs.goodput import Goodput
from launch.cluster.queue_place import Place
from launch.cluster.slurm_queue import QueuedJob
from launch.query.cost import Cost
from launch.query.progress import Progress
from launch.query.run_status import RunStatus, State

UNKNOWN = Progress(0, None, None, None, None, None, None, None)


@dataclass(frozen=True)
class Row:
    """One run, as `--json` prints it; what is not known, or does not apply, is None."""

    run: str
    exp: str  # the folder of runs that it is in, which bears the experiment's name
    folder: str
    state: State
    reason: str | None  # why it waits: after which runs, or in Slurm's words
    place: Place | None  # among the jobs that wait
    starts: float | None  # when Slurm expects to start it, seconds since 1970
    job: str | None
    cluster: str | None  # slurm, local or foreground
    nodes: str | None  # their names; before there are any, how many
    attempts: int
    goodput: Goodput | None
    cost: Cost | None
    energy_kwh: float | None
    ended: str | None  # why the last attempt that ended did
    since: float | None  # seconds since 1970
    step: int
    total: int | None
    epoch: float | None
    loss: float | None
    top1: float | None
    val_top1: float | None
    images_per_second: float | None
    left_s: float | None
    slow: tuple[str, ...]  # ranks that keep the others waiting


def finite(value: Any) -> Any:
    """Return what JSON can hold: NaN and infinities, which it has no word for, as strings.

    Args:
        value: of lists, tuples, dicts, and what JSON knows.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Beside:
    """What a row shows beside how a run stands; what wasn't asked for, or isn't known, is None."""

    far: Progress = UNKNOWN
    goodput: Goodput | None = None
    cost: Cost | None = None
    place: Place | None = None
    energy_kwh: float | None = None


def make_row(one: RunStatus, beside: Beside) -> Row:
    """Return the row of a run.

    Args:
        one: how it stands.
        beside: what is known beside that.
    """
    job, last, far = one.job, one.submission, beside.far
    is_running, is_waiting = one.state == "running", one.state == "queued"
    return Row(
        run=one.run.name,
        exp=one.run.folder.parent.name,
        folder=str(one.run.folder),
        state=one.state,
        reason=_waits_for(one) if is_waiting else None,
        place=beside.place if is_waiting else None,
        starts=_starts(job) if job and is_waiting else None,
        job=last.job if last and last.job != "-" else None,
        cluster=last.cluster if last else None,
        nodes=_nodes(one),
        attempts=len(one.attempts),
        goodput=beside.goodput,
        cost=beside.cost,
        energy_kwh=beside.energy_kwh,
        ended=one.why or None,
        since=one.since,
        **{
            **asdict(far),
            "images_per_second": far.images_per_second if is_running else None,
            "left_s": far.left_s if is_running else None,
            "slow": far.slow if is_running else (),
        },
    )


def _starts(job: QueuedJob) -> float | None:
    """When Slurm expects to start a job; what it expected once, and is over, is no answer."""
    return job.starts if job.starts is not None and job.starts > time.time() else None


def _waits_for(one: RunStatus) -> str | None:
    """Return what a queued run waits for: other runs, or why its job does, in Slurm's words.

    Of a job that Slurm holds, and won't start by itself, how to free it, too.
    """
    job = one.job
    if one.waits_for or job is None:
        return f"after {', '.join(one.waits_for)}" if one.waits_for else None
    is_held = re.search("held|hold", job.reason, re.IGNORECASE) and "Admin" not in job.reason
    return f"{job.reason}: scontrol release {job.id}" if is_held else job.reason


def _nodes(one: RunStatus) -> str | None:
    if one.job is not None and one.job.nodes:
        return one.job.nodes
    claim = one.current.claim if one.current and one.is_at_work else None
    if claim is not None and claim.get("hosts"):
        return ",".join(claim["hosts"])
    return str(one.submission.nodes) if one.submission else None
