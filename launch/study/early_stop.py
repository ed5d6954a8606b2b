"""The median rule: a trial that falls behind is stopped early.

It is that of Optuna's MedianPruner, which can't be used where there are two objectives, with one thing added:
where cost is an objective, a trial is compared with those alone that cost no more than it does. A network of
few multiply-adds isn't stopped for being less accurate than large ones: it may be on the Pareto front.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dnw.runs import jsonl
from dnw.runs.folder import Run
from dnw.runs.growing_file import GrowingFile
from launch.query.progress import length
from launch.study.record import Trial
from launch.study.settings import UPWARDS, StudySettings

KINDS = ("val", "wiring")  # of lines: quality, cost
LOOK_S = 1.0  # between two looks at a run in the foreground


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run that trains, but the last."""

    ordinal: int  # from 1
    step: int
    value: float  # of the quality
    cost: float | None  # of the network as it is then


class Log:
    """The evaluations that a run has logged, read on from where reading stopped."""

    def __init__(self, run: Run) -> None:
        """Begin with none of a trial's run."""
        self._run = run
        self._file = GrowingFile(run.metrics, self._take, self._forget)
        self._forget()

    def evaluations(self, settings: StudySettings) -> Iterator[Evaluation]:
        """Yield all so far without the run's last, after which there is nothing to save.

        One counts once its cost is logged, too, which is a moment later.

        Args:
            settings: say which of its figures matter.
        """
        if settings.quality is None:
            return
        self._file.read_on()
        last, costs = length(self._run.config).steps, self._found["wiring"]
        for ordinal, (step, line) in enumerate(sorted(self._found["val"].items()), start=1):
            value = line.get(settings.quality)
            if step == last or step not in costs:
                return
            if value is not None and math.isfinite(value):
                yield Evaluation(
                    ordinal, step, value, costs[step].get(settings.cost) if settings.cost else None
                )

    def _forget(self) -> None:
        self._found: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in KINDS}

    def _take(self, block: bytes, _: int) -> None:
        for kind, known in self._found.items():
            lines = jsonl.whole(jsonl.lines_with(block, f'"{kind}"'.encode()))
            known |= {line["step"]: line for line in lines if line.get("kind") == kind}


def behind(found: Evaluation, trial: Trial, others: Sequence[Trial], settings: StudySettings) -> str:
    """Return why a trial is stopped after an evaluation; empty if it isn't.

    Args:
        found: the evaluation, which `trial` doesn't know yet.
        trial: with its earlier evaluations.
        others: all trials of the study.
        settings: of the rule.
    """
    typed = settings.typed
    if typed.pruner is None or found.ordinal <= typed.warmup_evaluations:
        return ""
    done = [one for one in others if one.state == "complete" and one.number != trial.number]
    alike = [one for one in done if _costs_no_more(one, found, settings)]
    values = [one.evaluations[found.ordinal] for one in alike if found.ordinal in one.evaluations]
    if len(done) < typed.startup_trials or not values:
        return ""
    assert settings.quality is not None
    is_upwards = settings.directions[typed.objectives.index(settings.quality)] == "maximize"
    own = [*trial.evaluations.values(), found.value]
    best, median = max(own) if is_upwards else min(own), statistics.median(values)
    if (best >= median) if is_upwards else (best <= median):
        return ""
    unit = " %" if settings.quality in UPWARDS else ""
    which = f" that cost no more ({settings.cost})" if settings.cost else ""
    return (
        f"after step {found.step}: {settings.quality} {best:.2f}{unit} at best, the median of {len(values)}"
        f"{which} is {median:.2f}{unit}"
    )


def _costs_no_more(one: Trial, found: Evaluation, settings: StudySettings) -> bool:
    if settings.cost is None or found.cost is None or one.values is None:
        return True
    return one.values[settings.typed.objectives.index(settings.cost)] <= found.cost
