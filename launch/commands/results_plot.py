"""Top-1 against multiply-adds: finished runs, and what the paper published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.commands import plot
from launch.commands.published import ROWS
from launch.commands.results import Row
from launch.errors import LaunchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR_APART = 10.0  # the greatest number of multiply-adds over the least, from which the axis is logarithmic
MILLION = 1e6


@dataclass(frozen=True)
class Point:
    """One mark in the plot: the runs of one kind, or a published result."""

    data: str
    kind: str  # network and wiring: what has a colour of its own
    macs: float
    top1: float  # percent
    spread: float | None  # of top1, percent
    is_published: bool


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw results into a file: a panel for each data set, a colour for each network with its wiring.

    The paper's results stand beside them as open marks: all that it gives multiply-adds of. Where it gives
    none, its result is drawn at the multiply-adds of the run of its kind.

    Raises:
        LaunchError: there is nothing to draw, or it can't be drawn there.
    """
    if not rows:
        raise LaunchError("--plot: no finished runs to draw")
    found = points(rows)
    data_sets = list(dict.fromkeys(row.data for row in rows))
    figure, panels = plot.panels(len(data_sets))
    for data, panel in zip(data_sets, panels, strict=True):
        _draw(panel, data, [point for point in found if point.data == data])
    plot.write(figure, path)


def points(rows: Sequence[Row]) -> list[Point]:
    """Return the marks: those of the runs, then the paper's, each once."""
    return [*_of_runs(rows), *dict.fromkeys(_of_the_paper(rows))]


def _of_runs(rows: Sequence[Row]) -> Iterator[Point]:
    for row in rows:
        yield Point(row.data, f"{row.network}, {row.wiring}", row.macs, row.top1, row.top1_std, False)


def _of_the_paper(rows: Sequence[Row]) -> Iterator[Point]:
    for row in rows:
        if row.published_top1 is not None:
            macs, kind = row.published_macs or row.macs, f"{row.network}, {row.wiring}"
            yield Point(row.data, kind, macs, row.published_top1, row.published_std, True)
    for one in ROWS:
        if one.macs is not None and one.data in {row.data for row in rows}:
            kind = f"{one.model}{' small' if one.small else ''}, {one.wiring}"
            yield Point(one.data, kind, one.macs, one.top1, one.spread, True)


def _draw(panel: Axes, data: str, points: Sequence[Point]) -> None:
    kinds = list(dict.fromkeys(point.kind for point in points))
    colours = {kind: f"C{number % 10}" for number, kind in enumerate(kinds)}
    labelled: set[str] = set()
    for point in points:
        label = point.kind + (" (paper)" if point.is_published else "")
        panel.errorbar(
            point.macs / MILLION,
            point.top1,
            yerr=point.spread,
            fmt="o",
            capsize=3,
            color=colours[point.kind],
            fillstyle="none" if point.is_published else "full",
            label="_" if label in labelled else label,
        )
        labelled.add(label)
    macs = [point.macs for point in points]
    if min(macs) > 0 and max(macs) / min(macs) > FAR_APART:
        panel.set_xscale("log")
    panel.set_title(data)
    panel.set_xlabel("multiply-adds of one image [million]")
    panel.set_ylabel("top-1 [%]")
    panel.legend(fontsize="x-small")
