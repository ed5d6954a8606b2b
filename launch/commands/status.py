"""The table of runs: what each does, how far it is, and why its last attempt ended."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dnw.console import PlainConsole
from dnw.runs.folder import Run
from launch.commands import watch
from launch.query.run_row import Row, finite
from launch.query.run_status import State
from launch.query.run_table import RunTable

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
    *("Goodput", "Node h", "GPU h", "kWh", "Attempts", "Last ended", "Since"),
)
DISPENSABLE = (  # in this order
    *(
        "Node h",
        "GPU h",
        "kWh",
        "Epoch",
        "Goodput",
        "Nodes",
        "Val top-1",
        "Since",
        "Images/s",
        "Attempts",
        "Job",
        "Loss",
    ),
)
MAYBE = frozenset({"Node h", "GPU h", "kWh"})  # columns only where there is something to say
FOLDED = frozenset({"Run", "State", "Last ended"})
FOLDED_TO = 20  # characters
BETWEEN = 3  # characters between two columns
MOST_LIVELY: tuple[State, ...] = (
    *("running", "queued", "diverged", "failed", "unreadable", "stopped", "ready", "finished"),
)
NOTES_WATCHED = 4  # notes below a table that is redrawn
LINES_OF_A_ROW = 3  # at most, as a rule
TO_THE_RIGHT = frozenset(COLUMNS) - {"Run", "State", "Job", "Nodes", "Last ended", "Since"}


@dataclass(frozen=True)
class Seen:
    """What one look at the runs brought in."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]  # on what could not be found out
    at: float  # seconds since 1970


def show(
    select: Callable[[], Sequence[Run]], as_json: bool, watch_s: float | None, asks_energy: bool = False
) -> None:
    """Print how runs stand.

    Args:
        select: which runs; asked at every look, so that new ones appear.
        as_json: print JSON instead of a table.
        watch_s: seconds after which they are printed again, until interrupted; None: once.
        asks_energy: ask Slurm's accounts for the energy of each run.

    Raises:
        LaunchError: as `select`.
    """
    console, known = PlainConsole(), RunTable(asks_energy)

    def say() -> None:
        if as_json:
            print(listed(known.look(select())[0]), flush=True)
        else:
            seen = look(known, select)
            if watch_s is not None:
                console.print(clock(seen.at))
            console.print(_shown(seen, console))

    if watch_s is None:
        say()
    elif as_json or not watch.can_redraw(console):
        watch.repeat(say, watch_s)
    else:
        watch.redraw(
            console, lambda: look(known, select), partial(_drawn, console=console, every_s=watch_s), watch_s
        )


def listed(found: Sequence[Row]) -> str:
    """Return rows as JSON: a number that is none, as the loss of a run that diverged, is a string."""
    return json.dumps(finite([asdict(row) for row in found]), indent=1, allow_nan=False)


def look(known: RunTable, select: Callable[[], Sequence[Run]]) -> Seen:
    """Return how the selected runs stand now."""
    found, notes = known.look(select())
    return Seen(tuple(found), tuple(notes), time.time())


def table(found: Sequence[Row], width: int) -> tuple[Table, list[str]]:
    """Return the rows for people, and the columns left out so that it is no wider than so many characters."""
    cells = [_cells(row) for row in found]
    least = {name: max([len(name), *(len(row[name]) for row in cells)]) for name in COLUMNS}
    least |= {name: min(least[name], FOLDED_TO) for name in FOLDED}
    kept = [name for name in COLUMNS if name not in MAYBE or any(row[name] != "-" for row in cells)]
    wanted = tuple(kept)
    for name in [one for one in DISPENSABLE if one in wanted]:
        if sum(least[one] + BETWEEN for one in kept) <= width:
            break
        kept.remove(name)
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    for name in kept:
        side: Literal["left", "right"] = "right" if name in TO_THE_RIGHT else "left"
        shown.add_column(name, justify=side, overflow="fold", min_width=least[name])
    for row in cells:
        shown.add_row(*(row[name] for name in kept))
    return shown, [name for name in wanted if name not in kept]


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


def clock(at: float) -> str:
    """Return a time in seconds since 1970 as people here read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _shown(seen: Seen, console: PlainConsole) -> Group:
    if not seen.rows:
        return Group(Text("no runs"))
    shown, left_out = table(seen.rows, console.width)
    return Group(shown, *(Text(note, style="dim") for note in [*seen.notes, *_too_narrow(left_out)]))


def _too_narrow(left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    return [f"too narrow here for: {', '.join(left_out)}; a wider window shows them, or --json"]


def _drawn(seen: Seen, lines: int | None, console: PlainConsole, every_s: float) -> Group:
    """Return as many rows as fit, those first that something happens to; and what the others are."""
    if lines is None or not seen.rows:
        return _shown(seen, console)
    foot = Text(f"{_counted(seen.rows)}; {clock(seen.at)}, every {every_s:g} s until Ctrl-C", style="dim")
    notes = [*seen.notes[:NOTES_WATCHED], *_more_notes(seen)]
    first = sorted(seen.rows, key=lambda row: MOST_LIVELY.index(row.state))
    count = min(len(first), lines)
    while True:
        kept = seen.rows if count == len(first) else first[:count]
        shown, left_out = table(kept, console.width)
        rest = [f"and {_counted(first[count:])}: a taller window shows them"] if count < len(first) else []
        below = [*rest, *notes, *_too_narrow(left_out)]
        drawn = Group(shown, *(Text(said, style="dim") for said in below), foot)
        over = len(console.render_lines(drawn, pad=False)) - lines
        if over <= 0 or count <= 1:
            return drawn
        count = max(1, count - max(1, over // LINES_OF_A_ROW))


def _counted(found: Sequence[Row]) -> str:
    counts = Counter(row.state for row in found)
    return ", ".join(f"{counts[state]} {state}" for state in MOST_LIVELY if counts[state])


def _more_notes(seen: Seen) -> list[str]:
    more = len(seen.notes) - NOTES_WATCHED
    return [f"{more} more notes: without --watch"] if more > 0 else []


def waiting(row: Row, now: float) -> list[str]:
    """Return why a run waits, behind how many jobs, and when Slurm expects to start it, for people."""
    said = [row.reason] if row.reason else []
    if row.place is not None:
        own = "" if row.place.has_others or row.place.waiting == 1 else ", all own"
        said.append(f"{row.place.ahead + 1} of {row.place.waiting}{own}")
    if row.starts is not None:
        said.append(f"starts in {duration(row.starts - now)}")
    return said


def _cells(row: Row) -> dict[str, Text | str]:
    now = time.time()
    state = Text(row.state, style=STYLES[row.state])
    if waits := ", ".join(waiting(row, now)):
        state.append(f" ({waits})", style="dim")
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
        "Node h": "-" if row.cost is None else _number(row.cost.node_hours, ".1f"),
        "GPU h": "-" if row.cost is None else _number(row.cost.gpu_hours, ".1f"),
        "kWh": _number(row.energy_kwh, ".2f"),
        "Attempts": str(row.attempts),
        "Last ended": row.ended or "-",
        "Since": f"{duration(now - row.since)} ago" if row.since else "-",
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
