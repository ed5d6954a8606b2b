"""The trials of a study as a table, and its Pareto front as a plot."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.table import Table

from dnw.console import PlainConsole
from dnw.invocation import RUN, SUBMIT
from dnw.runs.folder import Run
from launch.cluster.submission import newest
from launch.commands import plot
from launch.errors import LaunchError
from launch.study.outcome import cell, front
from launch.study.record import JOURNAL, SETTINGS, Study, Trial
from launch.study.settings import COSTS, UPWARDS
from shards.files.folder_entries import matching

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Form = Literal["terminal", "csv", "json"]
MILLION = 1e6


@dataclass(frozen=True)
class Row:
    """One trial."""

    trial: int
    state: str
    params: dict[str, Any]
    values: dict[str, float]
    is_best: bool  # on the Pareto front; of one objective: the best
    note: str  # why it was stopped early, or failed
    run: str


def rows(study: Study) -> list[Row]:
    """Return a row for each trial, by number."""
    found = study.trials()
    best = {one.number for one in front(found, study.directions)}
    return [_row(one, objectives(study), one.number in best) for one in found]


def objectives(study: Study) -> list[str]:
    """Return the names of what a study looks for."""
    kept = study.attribute(SETTINGS) or {}
    return list(kept.get("objectives", ()))


def show(study: Study, form: Form = "terminal") -> list[Row]:
    """Print the table of a study; its rows."""
    found = rows(study)
    if form == "json":
        print(json.dumps([asdict(row) for row in found], indent=1))
    elif form == "csv":
        print(_csv(found, objectives(study)), end="")
    else:
        PlainConsole(width=200).print(_table(found, objectives(study)) if found else "no trial has begun")
        for row in found:
            if line := _line(row, study.folder):
                print(f"trial {row.trial} is saved; to go on with it: {line}")
    return found


def draw(study: Study, path: Path) -> None:
    """Draw the first objective against the second one, with the Pareto front as a line.

    Raises:
        LaunchError: there is one objective alone, no trial has finished, or it can't be written.
    """
    names, found = objectives(study), [row for row in rows(study) if row.values]
    if len(names) < 2:
        raise LaunchError(f"--plot: one objective alone ({', '.join(names)}) makes no front")
    if not found:
        raise LaunchError("--plot: no trial has finished")
    figure, (panel,) = plot.panels(1)
    _draw(panel, found, names)
    plot.write(figure, path)


def find(word: str | None, runs_dir: Path) -> Path:
    """Return the folder of a study.

    Args:
        word: its folder, its name, or a part of that; None: the only one there is.
        runs_dir: where names are looked for.

    Raises:
        LaunchError: there is none, or there are several.
    """
    if word is not None and (Path(word) / JOURNAL).is_file():
        return Path(word)
    there = {path.parent.name: path.parent for path in matching(runs_dir, f"*/{JOURNAL}")}
    fitting = [word] if word in there else [name for name in there if word is None or word in name]
    if len(fitting) == 1:
        return there[fitting[0]]
    if not there:
        raise LaunchError(f"{runs_dir}: no study in it; name the folder of your runs with --runs-dir")
    if not fitting:
        raise LaunchError(f"{word}: no study of this name; there are: {', '.join(there)}")
    raise LaunchError(f"{word or 'which study'}: fits {len(fitting)}: {', '.join(fitting)}")


def _row(one: Trial, names: Sequence[str], is_best: bool) -> Row:
    values = dict(zip(names, one.values, strict=True)) if one.values is not None else {}
    return Row(one.number, one.state, dict(one.params), values, is_best, one.cause or one.behind, one.run)


def _line(row: Row, folder: Path) -> str:
    """Return what goes on with a trial that was stopped early; empty if there is nothing to go on with."""
    run = Run(folder.parent / row.run)
    made = newest(run) if row.state == "pruned" and not run.result.exists() else None
    if made is None:
        return ""
    return f"{RUN if made.cluster == 'foreground' else SUBMIT} {shlex.join(made.words)}"


def _keys(found: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in found for key in row.params))


def _table(found: Sequence[Row], names: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Trial", justify="right")
    table.add_column("State")
    for key in (*_keys(found), *names):
        table.add_column(key.lstrip("+"), justify="right")
    table.add_column("Front" if len(names) > 1 else "Best")
    table.add_column("Note")
    for row in found:
        params = [str(row.params.get(key, "")) for key in _keys(found)]
        values = [cell(name, row.values[name]) if row.values else "" for name in names]
        table.add_row(str(row.trial), row.state, *params, *values, "*" if row.is_best else "", row.note)
    return table


def _csv(found: Sequence[Row], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *_keys(found), *names, "is_best", "note", "run"])
    for row in found:
        params, values = (
            [row.params.get(key, "") for key in _keys(found)],
            [row.values.get(n, "") for n in names],
        )
        writer.writerow([row.trial, row.state, *params, *values, row.is_best, row.note, row.run])
    return text.getvalue()


def _draw(panel: Axes, found: Sequence[Row], names: Sequence[str]) -> None:
    y, x = names[:2]
    units = {name: MILLION if name in COSTS else 1.0 for name in (x, y)}

    def places(some: Sequence[Row]) -> tuple[list[float], list[float]]:
        return [row.values[x] / units[x] for row in some], [row.values[y] / units[y] for row in some]

    best = sorted((row for row in found if row.is_best), key=lambda row: row.values[x])
    panel.plot(*places([row for row in found if not row.is_best]), "o", color="0.6", label="other trials")
    panel.plot(*places(best), "o-", color="C0", label="Pareto front")
    panel.set_xlabel(_label(x))
    panel.set_ylabel(_label(y))
    panel.legend(fontsize="x-small")


def _label(name: str) -> str:
    words = {"macs": "multiply-adds of one image", "params": "parameters"}.get(name, name)
    unit = " [million]" if name in COSTS else " [%]" if name in UPWARDS else ""
    return f"{words}{unit}"
