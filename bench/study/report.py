"""What the study came to: tables as Markdown, the paper's order, and a plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bench.study.declared import Network
from bench.study.runs import Trained
from launch.commands import plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER = ("random", "no_update", "dnw")  # the paper's order, from the lowest accuracy to the highest


@dataclass(frozen=True)
class Row:
    """A contestant at its best rate, trained for the whole length."""

    contestant: str
    rate: float
    held_out: tuple[float, ...]  # top-1 by seed, percent
    test: tuple[float, ...]
    curves: tuple[tuple[tuple[float, float], ...], ...]  # by seed: (epoch, top-1 of what is held out)
    diverged: int = 0  # seeds beside these, of which nothing else can be told


@dataclass(frozen=True)
class Found:
    """What came out for a network."""

    network: Network
    rows: Sequence[Row]
    tuning: Sequence[Trained]  # short runs at every rate
    finals: Sequence[Trained]  # those of the whole length


def by_rate(runs: Iterable[Trained]) -> dict[str, dict[float, list[Trained]]]:
    """Sort runs by contestant and rate, in the order in which they come."""
    found: dict[str, dict[float, list[Trained]]] = {}
    for one in runs:
        found.setdefault(one.contestant, {}).setdefault(one.rate, []).append(one)
    return found


def best_rate(rates: dict[float, list[Trained]]) -> float | None:
    """Return the rate of the highest mean on held-out images, the lowest of equal ones; None: there is none.

    Where seeds are missing at some rates, those count alone that are done at all of them.
    """
    best = best_rates(_of_common_seeds(rates), 1)
    return best[0] if best else None


def best_rates(rates: dict[float, list[Trained]], count: int) -> list[float]:
    """Return the rates of the highest means on held-out images, the best first, the lower of equal ones.

    Nothing is chosen before all runs have ended. A rate at which one has diverged is no candidate.
    """
    if not all(one.has_ended() for runs in rates.values() for one in runs):
        return []
    means = {
        rate: statistics.mean(done)
        for rate, runs in rates.items()
        if runs and len(done := [top1 for one in runs if (top1 := one.top1()) is not None]) == len(runs)
    }
    return sorted(means, key=lambda rate: (-means[rate], rate))[:count]


def _of_common_seeds(rates: dict[float, list[Trained]]) -> dict[float, list[Trained]]:
    known = [{one.seed for one in runs} for runs in rates.values() if runs]
    common = set.intersection(*known) if known else set()
    return {rate: [one for one in runs if one.seed in common] for rate, runs in rates.items()}


def spread(numbers: Sequence[float]) -> str:
    """Return mean and standard deviation (n - 1), as text."""
    if not numbers:
        return ""
    mean = f"{statistics.mean(numbers):.2f}"
    return f"{mean} ± {statistics.stdev(numbers):.2f}" if len(numbers) > 1 else mean


def tables(found: Found) -> str:
    """Return the results of a network: each at its best rate, then what chose the rates."""
    network, rows = found.network, found.rows
    random = next((row for row in rows if row.contestant == "random"), None)
    lines = [
        f"### {network.title[0].upper()}{network.title[1:]}",
        "",
        "| wiring | rate | held-out images | test images | against random | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ahead = ""
        if random is not None and row is not random:
            ahead = f"{statistics.mean(row.test) - statistics.mean(random.test):+.2f}"
        seeds = f"{len(row.test)}{_diverged(row.diverged)}"
        results = f"{spread(row.held_out)} | {spread(row.test)} | {ahead} | {seeds}"
        lines.append(f"| {row.contestant} | {row.rate:g} | {results} |")
    rates = sorted({one.rate for one in found.tuning or found.finals})
    lines += _at_the_edge(rows, rates)
    for runs in (found.tuning, found.finals):
        lines += _at_every_rate(runs)
    lines += _so_far(found.finals)
    return "\n".join([*lines, "", *order(rows)]) + "\n"


def _at_every_rate(runs: Sequence[Trained]) -> list[str]:
    """Return a table of accuracy on held-out images, unless no contestant has several rates."""
    rates = sorted({one.rate for one in runs})
    if all(len(found) < 2 for found in by_rate(runs).values()):
        return []
    steps = ", ".join(f"{count}" for count in sorted({one.steps for one in runs}))
    lines = [
        "",
        f"Held-out images after {steps} steps, by rate:",
        "",
        f"| wiring | {' | '.join(f'{rate:g}' for rate in rates)} |",
        f"|---{'|---' * len(rates)}|",
    ]
    for contestant, found in by_rate(runs).items():
        cells = [_cell(found.get(rate, [])) for rate in rates]
        if any(cells):
            lines.append(f"| {contestant} | {' | '.join(cells)} |")
    return lines


def _so_far(finals: Sequence[Trained]) -> list[str]:
    """Return a table of runs of the whole length, after the last epoch that all which have begun have."""
    begun = [(one, dict(curve)) for one in finals if (curve := one.curve())]
    common = set.intersection(*(set(curve) for _, curve in begun)) if begun else set()
    if not common or all(one.has_ended() for one in finals):
        return []
    last = max(common)
    lines = [
        "",
        f"Runs of the whole length so far, held-out images after {last:.0f} epochs:",
        "",
        "| wiring | rate | top-1 | seeds |",
        "|---|---|---|---|",
    ]
    for contestant, rates in by_rate(one for one, _ in begun).items():
        for rate, runs in rates.items():
            top1s = [curve[last] for one, curve in begun if one in runs]
            lines.append(f"| {contestant} | {rate:g} | {spread(top1s)} | {len(top1s)} |")
    return lines


def _at_the_edge(rows: Sequence[Row], rates: Sequence[float]) -> list[str]:
    """Say whose best rate is the lowest or the highest that was tried: a better one may lie beyond."""
    if len(rates) < 2:
        return []
    ends = {rates[0]: "lowest", rates[-1]: "highest"}
    named = {end: [row.contestant for row in rows if row.rate == rate] for rate, end in ends.items()}
    told = [f"The {end} rate is the best of {', '.join(names)}." for end, names in named.items() if names]
    return ["", *told, "Better ones may lie beyond: `--rates`."] if told else []


def _cell(runs: Sequence[Trained]) -> str:
    done = [top1 for one in runs if (top1 := one.top1()) is not None]
    diverged = sum(one.has_ended() for one in runs) - len(done)
    return spread(done) + _diverged(diverged)


def _diverged(count: int) -> str:
    return f" ({count} diverged)" if count else ""


def order(rows: Sequence[Row]) -> list[str]:
    """Say whether the paper's order came out, and after which epochs it held."""
    found = {row.contestant: row for row in rows if row.contestant in PAPER}
    if len(found) < len(PAPER):
        return []
    held = _rises([statistics.mean(found[name].test) for name in PAPER])
    said = f"random < no_update < dnw in the means on test images: {'yes' if held else 'no'}."
    means = [dict(mean_curve(found[name])) for name in PAPER]
    epochs = sorted(set.intersection(*map(set, means)))
    if len(epochs) > 1:
        when = [f"{epoch:.0f}" for epoch in epochs if _rises([mean[epoch] for mean in means])]
        said += (
            f" On held-out images it held after these of {len(epochs)} epochs: {', '.join(when) or 'none'}."
        )
    return [said]


def _rises(numbers: Sequence[float]) -> bool:
    return all(before < after for before, after in pairwise(numbers))


def mean_curve(row: Row) -> list[tuple[float, float]]:
    """Return the mean over seeds after each evaluation that all of them have."""
    return [
        (points[0][0], statistics.mean(top1 for _, top1 in points))
        for points in zip(*row.curves, strict=False)
    ]


def draw(found: Sequence[Found], path: Path) -> None:
    """Draw, for each network, accuracy against the rate, and against epochs at the best one.

    All of it on held-out images; bars and bands are one deviation to both sides. Runs that are still at work
    are drawn as far as they are.
    """
    panels: list[tuple[Found, Callable[[Axes, Found], None]]] = []
    for one in found:
        if len({run.rate for run in one.tuning or one.finals if run.top1() is not None}) > 1:
            panels.append((one, _draw_rates))
        if any(len(run.curve()) > 1 for run in one.finals):
            panels.append((one, _draw_epochs))
    if not panels:
        return
    figure, axes = plot.panels(len(panels))
    for (one, drawn), panel in zip(panels, axes, strict=True):
        panel.set_title(one.network.title)
        panel.set_ylabel("top-1 on held-out images [%]")
        drawn(panel, one)
        panel.legend(fontsize="x-small")
    plot.write(figure, path)


def _draw_rates(panel: Axes, found: Found) -> None:
    runs = found.tuning or found.finals
    for contestant, rates in by_rate(runs).items():
        done = {
            rate: [top1 for one in rates[rate] if (top1 := one.top1()) is not None] for rate in sorted(rates)
        }
        points = {rate: top1s for rate, top1s in done.items() if top1s}
        means = [statistics.mean(top1s) for top1s in points.values()]
        bars = [statistics.stdev(top1s) if len(top1s) > 1 else 0.0 for top1s in points.values()]
        panel.errorbar(list(points), means, yerr=bars, fmt="o-", capsize=3, label=contestant)
    tried = sorted({one.rate for one in runs})
    panel.set_xscale("log")
    panel.set_xticks(tried, [f"{rate:g}" for rate in tried])
    panel.set_xticks([], minor=True)
    steps = max(one.steps for one in runs)
    panel.set_xlabel(f"learning rate, {steps} steps")


def _draw_epochs(panel: Axes, found: Found) -> None:
    """Draw what there is of runs of the whole length, whether they have ended or not."""
    for contestant, rates in by_rate(found.finals).items():
        for rate, runs in rates.items():
            points = list(zip(*(curve for one in runs if (curve := one.curve())), strict=False))
            if not points:
                continue
            epochs = [at[0][0] for at in points]
            means = [statistics.mean(top1 for _, top1 in at) for at in points]
            bands = [statistics.stdev(top1 for _, top1 in at) if len(at) > 1 else 0.0 for at in points]
            (line,) = panel.plot(epochs, means, marker=".", label=f"{contestant}, rate {rate:g}")
            low = [mean - band for mean, band in zip(means, bands, strict=True)]
            high = [mean + band for mean, band in zip(means, bands, strict=True)]
            panel.fill_between(epochs, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    panel.set_xlabel("epoch")
