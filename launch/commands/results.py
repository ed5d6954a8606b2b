"""The paper's table from finished runs, with what the paper published beside it.

Runs that differ in nothing but the seed make one row: the mean, and the standard deviation over the seeds.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.table import Table

from dnw.config import ConfigError, Train, load
from dnw.console import PlainConsole
from dnw.identity import signature
from dnw.invocation import RUNS
from dnw.runs import divergence
from dnw.runs.folder import Run
from launch.commands.published import published
from launch.commands.table import count
from launch.errors import LaunchError
from launch.query import select
from launch.query.result import read_result
from shards import command

Form = Literal["terminal", "markdown", "csv", "json"]
HEADINGS = ("Experiment", "Network", "Wiring", "Data", "Trained", "Params", "MACs", "Top-1 %", "Runs")
BESIDE = ("Params", "MACs", "Top-1 %")  # in the paper
NEEDED = ("top1", "params", "macs")  # of a result
TEXTS = 5  # of the columns; the others are numbers, to the right


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished run: what it was, and what came out."""

    run: Run
    train: Train
    result: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Row:
    """The runs of one kind, as `--json` and `--csv` print them; what isn't known is None."""

    experiment: str  # and what was overridden
    network: str
    wiring: str
    width: float | None
    sparsity: float | None
    first_layer: str
    data: str
    trained: str
    runs: int
    params: int  # mean
    macs: int  # mean
    top1: float  # mean, percent
    top1_std: float | None  # over two runs or more
    published_params: float | None
    published_macs: float | None
    published_top1: float | None
    published_std: float | None


def show(runs: Sequence[Run], form: Form) -> list[Row]:
    """Print the table of those runs that are finished; its rows."""
    found, notes = rows(runs)
    if form == "json":
        print(json.dumps([dataclasses.asdict(row) for row in found], indent=1))
    elif form == "csv":
        print(_csv(found), end="")
    elif form == "markdown":
        print(_markdown(found))
    else:
        console = PlainConsole(width=200)
        console.print(_table(found) if found else "no finished runs")
    for note in notes:
        print(note, file=sys.stderr)
    return found


def rows(runs: Iterable[Run]) -> tuple[list[Row], list[str]]:
    """One row for each kind of finished run, in order of appearance, and remarks on those left out."""
    kinds: dict[str, list[Done]] = {}
    notes: list[str] = []
    unfinished: list[Run] = []
    for run in runs:
        try:
            done = _done(run)
        except (LaunchError, ConfigError, OSError) as error:  # the folder is another user's, say
            notes.append(f"left out: {command.explain(error) or error}")
            continue
        if done is None:
            unfinished.append(run)
        else:
            kinds.setdefault(_kind(done.train), []).append(done)
    diverged = [run for run in unfinished if divergence.last(run)]
    notes += [f"left out: {run.name}: diverged" for run in diverged]
    if others := len(unfinished) - len(diverged):
        notes.append(f"not finished, so left out: {others}; {RUNS} status shows them")
    return [_row(found) for found in kinds.values()], notes


def select_finished(words: Sequence[str], runs_dir: Path) -> list[Run]:
    """Return the runs that words name, as `select_runs` has it; a folder of runs stands for all of them.

    Raises:
        LaunchError: a word that fits no run, or several that lie in no folder of their own.
    """
    if not words:
        return select.below(runs_dir)
    return list(dict.fromkeys(run for word in words for run in _of(word, runs_dir)))


def _of(word: str, runs_dir: Path) -> list[Run]:
    for folder in (Path(word).absolute(), (runs_dir / word).absolute()):
        if folder.is_dir() and not select.is_run(folder):
            of_experiment = [run for run in select.below(folder.parent) if run.folder.parent == folder]
            if found := of_experiment or select.below(folder):
                return found
    return select.select_runs([word], runs_dir)


def _done(run: Run) -> Done | None:
    """Return a run, if it is finished; raises LaunchError or ConfigError where that can't be read."""
    result = read_result(run)
    if result is None:
        return None
    if missing := [key for key in NEEDED if key not in result]:
        raise LaunchError(f"{run.result}: does not say {', '.join(missing)}")
    return Done(run, load(run.config), result)


def _kind(train: Train) -> str:
    """Return what is equal for all seeds, and for the runs that they begin with."""
    wiring = dataclasses.replace(train.wiring, source_signature="")
    return signature(dataclasses.replace(train, seed=0, wiring=wiring))


def _row(found: Sequence[Done]) -> Row:
    train, results = found[0].train, [done.result for done in found]
    top1 = [float(result["top1"]) for result in results]
    theirs = published(train)
    return Row(
        experiment=_label(found[0].run, train),
        network=train.model.name + (" small" if train.model.small else ""),
        wiring=train.wiring.name,
        width=train.width,
        sparsity=train.sparsity,
        first_layer=train.first_layer,
        data=train.data.name,
        trained=f"{train.steps} steps" if train.steps is not None else f"{train.epochs:g} epochs",
        runs=len(found),
        params=round(statistics.fmean(result["params"] for result in results)),
        macs=round(statistics.fmean(result["macs"] for result in results)),
        top1=statistics.fmean(top1),
        top1_std=statistics.stdev(top1) if len(top1) > 1 else None,
        published_params=theirs.params if theirs else None,
        published_macs=theirs.macs if theirs else None,
        published_top1=theirs.top1 if theirs else None,
        published_std=theirs.spread if theirs else None,
    )


def _label(run: Run, train: Train) -> str:
    """Return the experiment, and what was overridden but the seed."""
    overridden = re.sub(r"-[0-9a-f]{10}$", "", run.folder.name)
    overridden = re.sub(r"(^|,)seed=\d+(?=,|$)", "", overridden).strip(",")
    return train.exp if overridden in {"", "default"} else f"{train.exp} {overridden}"


def _cells(row: Row) -> list[str]:
    return [
        row.experiment,
        _network(row),
        row.wiring,
        row.data,
        row.trained,
        count(row.params),
        count(row.macs),
        _with_spread(row.top1, row.top1_std, 2),
        str(row.runs),
        "" if row.published_params is None else count(round(row.published_params)),
        "" if row.published_macs is None else count(round(row.published_macs)),
        "" if row.published_top1 is None else _with_spread(row.published_top1, row.published_std, 1),
    ]


def _network(row: Row) -> str:
    name = row.network + ("" if row.width is None else f" x{row.width:g}")
    if row.sparsity:
        name += f" -{100 * row.sparsity:g} %"
    return name if row.first_layer == "sparse" else f"{name}, first layer dense"


def _with_spread(mean: float, spread: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def _table(found: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if place < TEXTS else "right")
    for heading in BESIDE:
        table.add_column(f"Paper\n{heading}", justify="right", style="dim")
    for row in found:
        table.add_row(*_cells(row))
    return table


def _markdown(found: Sequence[Row]) -> str:
    headings = [*HEADINGS, *(f"Paper: {heading}" for heading in BESIDE)]
    rule = ["---" if place < TEXTS else "---:" for place in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *map(_cells, found)))


def _csv(found: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in found)
    return text.getvalue()
