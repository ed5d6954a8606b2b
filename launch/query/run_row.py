"""One run as people look at it: what the table, `--json` and the page all show."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dnw.runs.folder import Run
from dnw.runs.goodput import Goodput, goodput, published
from launch.cluster.slurm_queue import QueuedJob
from launch.query.progress import Progress, length, progress
from launch.query.run_status import RunStatus, State, query_status
from shards import command


@dataclass(frozen=True)
class Row:
    """One run, as `--json` prints it; what is not known, or does not apply, is None."""

    run: str
    folder: str
    state: State
    reason: str | None  # why it waits, in Slurm's words
    job: str | None
    cluster: str | None  # slurm, local or foreground
    nodes: str | None  # their names; before there are any, how many
    attempts: int
    goodput: Goodput | None
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


def rows(runs: Sequence[Run]) -> tuple[list[Row], list[str]]:
    """Return a row for each run, and notes on what could not be found out."""
    statuses, notes = query_status(runs)
    found = [_readable_row(one, notes) for one in statuses]
    unknown = [f"{one.run.name}: {said}" for one in statuses if (said := _problem(one))]
    slow = [f"{row.run}: slow, {said}" for row in found for said in row.slow]
    return found, [*notes, *unknown, *slow]


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


def _readable_row(one: RunStatus, notes: list[str]) -> Row:
    """Return the row of a run, without what is in files that can't be read, which is noted."""
    try:
        return _row(one, progress(one.run, one.attempts, one.result))
    except OSError as error:
        notes.append(f"{one.run.name}: {command.explain(error) or error}")
        unknown = Progress(0, None, None, None, None, None, None, None)
        return _row(dataclasses.replace(one, attempts=()), unknown)


def _row(one: RunStatus, far: Progress) -> Row:
    job, last = one.job, one.submission
    is_running = one.state == "running"
    return Row(
        run=one.run.name,
        folder=str(one.run.folder),
        state=one.state,
        reason=_waits_for(job) if job and one.state == "queued" else None,
        job=last.job if last and last.job != "-" else None,
        cluster=last.cluster if last else None,
        nodes=_nodes(one),
        attempts=len(one.attempts),
        goodput=_goodput(one),
        ended=one.why or None,
        since=one.since,
        **{
            **asdict(far),
            "images_per_second": far.images_per_second if is_running else None,
            "left_s": far.left_s if is_running else None,
            "slow": far.slow if is_running else (),
        },
    )


def _waits_for(job: QueuedJob) -> str:
    """Why a job waits, in Slurm's words; of one that it holds, and won't start by itself, how to free it."""
    is_held = re.search("held|hold", job.reason, re.IGNORECASE) and "Admin" not in job.reason
    return f"{job.reason}: scontrol release {job.id}" if is_held else job.reason


def _goodput(one: RunStatus) -> Goodput | None:
    if one.result is not None:
        return published(one.result)
    return goodput(one.run, time.time() if one.state == "running" else None) if one.attempts else None


def _nodes(one: RunStatus) -> str | None:
    if one.job is not None and one.job.nodes:
        return one.job.nodes
    claim = one.current.claim if one.current and one.is_at_work else None
    if claim is not None and claim.get("hosts"):
        return ",".join(claim["hosts"])
    return str(one.submission.nodes) if one.submission else None


def _problem(one: RunStatus) -> str:
    return "" if one.is_finished or one.problems else length(one.run.config).problem
