"""Runs side by side: the settings in which they differ, how far they are, and their curves."""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.table import Table

from dnw import config
from dnw.config import ConfigError
from dnw.console import PlainConsole
from dnw.dotted import dotted
from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from launch.commands import plot
from launch.commands.table import count
from launch.errors import LaunchError
from launch.query.progress import Progress, progress
from launch.query.result import read_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 12  # of each curve, in the terminal
ABSENT = "-"
Curve = tuple[tuple[int, float], ...]  # step, value
Quantity = Literal["val_top1", "train_loss"]
NAMES: dict[Quantity, str] = {"val_top1": "Val top-1 %", "train_loss": "Loss"}


@dataclass(frozen=True)
class Compared:
    """One run, as `--json` prints it; what is not known (yet) is None."""

    run: str
    folder: str
    settings: dict[str, Any]  # those in which the runs differ; None where the run has none of this name
    step: int
    total: int | None
    loss: float | None
    top1: float | None  # in training, percent
    val_top1: float | None  # percent
    params: int | None  # of a run that isn't finished, those that its newest wiring uses
    macs: int | None  # likewise
    curves: dict[Quantity, Curve]


def show(runs: Sequence[Run], as_json: bool, picture: Path | None) -> int:
    """Print runs side by side; `picture` is a file to draw their curves in.

    Args:
        runs: at least two.
        as_json: print JSON in place of tables.
        picture: a file to draw their curves in; None: none.

    Returns:
        the exit code, 0.

    Raises:
        LaunchError: it is one run alone, one can't be read, or nothing can be drawn into that file.
    """
    if len(runs) < 2:
        raise LaunchError("compare: name two runs or more")
    if picture is not None:
        plot.check(picture)
    found = compare(runs)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        _print(found)
    if picture is not None:
        _draw(found, picture)
    return 0


def compare(runs: Sequence[Run]) -> list[Compared]:
    """Read runs, and find out in which settings they differ.

    Raises:
        LaunchError: one of them can't be read.
    """
    settings = [_settings(run) for run in runs]
    names = dict.fromkeys(name for values in settings for name in values)
    differing = [name for name in names if len({repr(values.get(name)) for values in settings}) > 1]
    return [
        _compared(run, {name: values.get(name) for name in differing})
        for run, values in zip(runs, settings, strict=True)
    ]


def _settings(run: Run) -> dict[str, Any]:
    """Dotted names and values of the frozen configuration, of whatever version of the code."""
    try:
        return dotted(config.read(run.config))
    except ConfigError as error:
        raise LaunchError(f"{run.name}: can't be compared; {error}") from None


def _compared(run: Run, settings: dict[str, Any]) -> Compared:
    result, logged = read_result(run), jsonl.read(run.metrics)
    far: Progress = progress(run, ledger.read(run), result)
    wired = [line for line in logged if line.get("kind") == "wiring"]
    newest = wired[-1] if wired else {}
    cost = result or {key: newest.get(f"effective_{key}") for key in ("params", "macs")}
    return Compared(
        run=run.name,
        folder=str(run.folder),
        settings=settings,
        step=far.step,
        total=far.total,
        loss=far.loss,
        top1=far.top1,
        val_top1=far.val_top1,
        params=cost.get("params"),
        macs=cost.get("macs"),
        curves={
            "val_top1": _curve(logged, "val", "top1"),
            "train_loss": _curve(logged, "train", "loss"),
        },
    )


def _curve(logged: Sequence[Mapping[str, Any]], kind: str, key: str) -> Curve:
    """Rising in steps; of a step that was done again, what came out last."""
    points = {
        line["step"]: line[key]
        for line in logged
        if line.get("kind") == kind and "step" in line and line.get(key) is not None
    }
    return tuple(sorted(points.items()))


def _print(found: Sequence[Compared]) -> None:
    console = PlainConsole()
    if not found[0].settings:
        console.print("the same settings in all of them")
    console.print(_side_by_side(found))
    quantity = _told_by_all(found)
    if quantity is None:
        console.print("no curves yet: one of the runs has logged nothing")
    else:
        console.print(_curves(found, quantity))


def _side_by_side(found: Sequence[Compared]) -> Table:
    """Return a column for each run: settings, then results."""
    table = _table(found, "Setting")
    for name in found[0].settings:
        table.add_row(name, *(_said(one.settings[name]) for one in found))
    table.add_section()
    table.add_row("Step", *(f"{one.step}/{'?' if one.total is None else one.total}" for one in found))
    table.add_row("Loss", *(_number(one.loss, 4) for one in found))
    table.add_row("Top-1 %", *(_number(one.top1, 2) for one in found))
    table.add_row("Val top-1 %", *(_number(one.val_top1, 2) for one in found))
    table.add_row("Params", *(ABSENT if one.params is None else count(one.params) for one in found))
    table.add_row("MACs", *(ABSENT if one.macs is None else count(one.macs) for one in found))
    return table


def _told_by_all(found: Sequence[Compared]) -> Quantity | None:
    """Return what there is a curve of in every run: validation if there is, else training."""
    return next((name for name in NAMES if all(one.curves[name] for one in found)), None)


def _curves(found: Sequence[Compared], quantity: Quantity) -> Table:
    """Return a column for each run, a line for each step: the newest value at it."""
    curves = [one.curves[quantity] for one in found]
    table = _table(found, "Step", NAMES[quantity])
    for step in thinned(common_steps(curves), POINTS):
        table.add_row(
            str(step), *(_number(_at(curve, step), 4 if quantity == "train_loss" else 2) for curve in curves)
        )
    return table


def common_steps(curves: Sequence[Curve]) -> list[int]:
    """Return the steps that all curves have; else those of the one with the fewest that all have come to."""
    common = set.intersection(*({step for step, _ in curve} for curve in curves))
    if len(common) > 1:
        return sorted(common)
    first, last = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    return [step for step, _ in min(curves, key=len) if first <= step <= last] or sorted(common)


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]


def _at(curve: Curve, step: int) -> float | None:
    """Return the newest value at a step."""
    place = bisect.bisect_right(curve, step, key=lambda point: point[0])
    return curve[place - 1][1] if place else None


def _table(found: Sequence[Compared], first: str, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column(first, justify="right" if title else "left")
    for one in found:
        table.add_column(one.run, justify="right", overflow="fold")
    return table


def _draw(found: Sequence[Compared], path: Path) -> None:
    figure, (loss, top1) = plot.panels(2)
    panels: dict[Quantity, Axes] = {"train_loss": loss, "val_top1": top1}
    for one in found:
        for quantity, panel in panels.items():
            curve = one.curves[quantity]
            steps, values = [step for step, _ in curve], [value for _, value in curve]
            panel.plot(steps, values, marker="." if len(curve) == 1 else "", label=one.run)
    loss.set_ylabel("training loss [nat]")
    top1.set_ylabel("validation top-1 [%]")
    for panel in (loss, top1):
        panel.set_xlabel("step")
    loss.legend(fontsize="x-small")
    plot.write(figure, path)


def _said(value: Any) -> str:
    return ABSENT if value is None else json.dumps(value) if isinstance(value, list) else str(value)


def _number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else f"{value:.{digits}f}"
