"""The table of runs: what each does, how far it is, and why its last attempt ended."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dnw.console import PlainConsole
from dnw.runs.folder import Run
from dnw.runs.goodput import Goodput, goodput, published
from launch.cluster.slurm_queue import QueuedJob
from launch.query.progress import Progress, length, progress
from launch.query.run_status import RunStatus, State, query_status
from shards import command

STYLES: dict[State, str] = {
    "finished": "green",
    "running": "bold green",
    "queued": "yellow",
    "stopped": "cyan",
    "failed": "bold red",
    "diverged": "bold red",
    "ready": "dim",
    "unreadable": "bold red",
}
COLUMNS = (
    *("Run", "State", "Job", "Nodes", "Step", "Epoch", "Loss", "Top-1", "Val top-1", "Images/s", "Left"),
    *("Goodput", "Attempts", "Last ended", "Since"),
)
DISPENSABLE = (  # in this order
    *("Epoch", "Goodput", "Nodes", "Val top-1", "Since", "Images/s", "Attempts", "Job", "Loss"),
)
FOLDED = frozenset({"Run", "Last ended"})
FOLDED_TO = 20  # characters
BETWEEN = 3  # characters between two columns
TO_THE_RIGHT = frozenset(COLUMNS) - {"Run", "State", "Job", "Nodes", "Last ended", "Since"}


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


def show(runs: Sequence[Run], as_json: bool, watch_s: float | None) -> None:
    """Print how runs stand.

    Args:
        runs: a row for each.
        as_json: print JSON instead of a table.
        watch_s: seconds after which they are printed again, until interrupted; None: once.
    """
    if as_json:
        _repeat(
            lambda: print(json.dumps([asdict(row) for row in rows(runs)[0]], indent=1), flush=True), watch_s
        )
        return
    console = PlainConsole()
    if watch_s is None or not console.is_terminal:
        _repeat(lambda: console.print(_shown(runs, console)), watch_s)
        return
    with Live(_shown(runs, console), console=console, auto_refresh=False) as live:
        _repeat(lambda: live.update(_shown(runs, console), refresh=True), watch_s)


def rows(runs: Sequence[Run]) -> tuple[list[Row], list[str]]:
    """Return a row for each run, and notes on what could not be found out."""
    statuses, notes = query_status(runs)
    found = [_readable_row(one, notes) for one in statuses]
    unknown = [f"{one.run.name}: {said}" for one in statuses if (said := _problem(one))]
    slow = [f"{row.run}: slow, {said}" for row in found for said in row.slow]
    return found, [*notes, *unknown, *slow]


def table(found: Sequence[Row], width: int) -> tuple[Table, list[str]]:
    """Return the rows for people, and the columns left out so that it is no wider than so many characters."""
    cells = [_cells(row) for row in found]
    least = {name: max([len(name), *(len(row[name]) for row in cells)]) for name in COLUMNS}
    least |= {name: min(least[name], FOLDED_TO) for name in FOLDED}
    kept = list(COLUMNS)
    for name in DISPENSABLE:
        if sum(least[one] + BETWEEN for one in kept) <= width:
            break
        kept.remove(name)
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    for name in kept:
        side: Literal["left", "right"] = "right" if name in TO_THE_RIGHT else "left"
        shown.add_column(name, justify=side, overflow="fold", min_width=least[name])
    for row in cells:
        shown.add_row(*(row[name] for name in kept))
    return shown, [name for name in COLUMNS if name not in kept]


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: 3 d 4 h, 12 min 5 s."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {below}" if rest else f"{whole // size} {unit}"
    raise AssertionError(seconds)


def _repeat(act: Callable[[], None], every_s: float | None) -> None:
    """Act once, or every so many seconds until Ctrl-C."""
    try:
        act()
        while every_s is not None:
            time.sleep(every_s)
            act()
    except KeyboardInterrupt:
        if every_s is None:
            raise


def _shown(runs: Sequence[Run], console: PlainConsole) -> Group:
    found, notes = rows(runs)
    if not found:
        return Group(Text("no runs"))
    shown, left_out = table(found, console.width)
    if left_out:
        notes.append(f"too narrow here for: {', '.join(left_out)}; a wider window shows them, or --json")
    return Group(shown, *(Text(note, style="dim") for note in notes))


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


def _cells(row: Row) -> dict[str, Text | str]:
    state = Text(row.state, style=STYLES[row.state])
    if row.reason:
        state.append(f" ({row.reason})", style="dim")
    return {
        "Run": row.run,
        "State": state,
        "Job": row.job or "-",
        "Nodes": row.nodes or "-",
        "Step": f"{row.step}/{'?' if row.total is None else row.total}",
        "Epoch": _number(row.epoch, ".2f"),
        "Loss": _number(row.loss, ".4f"),
        "Top-1": _number(row.top1, ".2f"),
        "Val top-1": _number(row.val_top1, ".2f"),
        "Images/s": _number(row.images_per_second, ".0f"),
        "Left": "-" if row.left_s is None else duration(row.left_s),
        "Goodput": "-" if row.goodput is None else _number(row.goodput.share, ".0%"),
        "Attempts": str(row.attempts),
        "Last ended": row.ended or "-",
        "Since": f"{duration(time.time() - row.since)} ago" if row.since else "-",
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
