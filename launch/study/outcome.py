"""What has come of trials: in words, and as values of the objectives."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from launch.commands.table import count
from launch.study.record import Trial
from launch.study.settings import COSTS, UPWARDS, Direction

INTERRUPTED = 128 + signal.SIGINT


def values_of(result: Mapping[str, Any], objectives: Sequence[str]) -> tuple[list[float], str]:
    """Return the values of objectives, and what is wrong with them; empty if nothing is.

    Args:
        result: of a run, as in result.json.
        objectives: their names in it.
    """
    values = [result.get(name) for name in objectives]
    if missing := [name for name, value in zip(objectives, values, strict=True) if not _is_number(value)]:
        return [], f"result.json has no finite {', '.join(missing)}"
    return [float(value) for value in values if value is not None], ""


def describe(trial: Trial, objectives: Sequence[str]) -> str:
    """Return one line on a trial that has ended."""
    if trial.values is not None:
        return f"trial {trial.number}: done, {shown(objectives, trial.values)}"
    if trial.state == "pruned":
        return f"trial {trial.number}: stopped and saved"
    return f"trial {trial.number}: {trial.cause}"


def shown(objectives: Sequence[str], values: Sequence[float]) -> str:
    """Return values for people."""
    return ", ".join(f"{name} {cell(name, value)}" for name, value in zip(objectives, values, strict=True))


def cell(objective: str, value: float) -> str:
    """Return one value for people."""
    if objective in COSTS:
        return count(round(value))
    return f"{value:.2f} %" if objective in UPWARDS else f"{value:.4f}"


def front(trials: Sequence[Trial], directions: Sequence[Direction]) -> list[Trial]:
    """Return the finished trials that no other beats: as good in everything, and better in something.

    Args:
        trials: any.
        directions: of the objectives.
    """
    points = [(one, _downwards(one.values, directions)) for one in trials if one.values is not None]
    return [one for one, point in points if not any(_beats(other, point) for _, other in points)]


def _downwards(values: Sequence[float], directions: Sequence[Direction]) -> tuple[float, ...]:
    return tuple(
        -value if direction == "maximize" else value
        for value, direction in zip(values, directions, strict=True)
    )


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
