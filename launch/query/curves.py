"""The curves and attempts of one run, few enough points to draw, from a log of any length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dnw.runs.goodput import durations_s
from dnw.runs.ledger import Attempt
from dnw.runs.metrics_scan import MetricsScan

POINTS = 600  # of a curve that are shown at most
CURVES = {"train": ("loss", "top1", "images_per_second"), "val": ("loss", "top1")}
Point = tuple[float, float | None]  # step, value; None: logged, but no number


@dataclass(frozen=True)
class AttemptRow:
    """One attempt, for people; what has not happened, or isn't known, is None."""

    number: int
    job: str | None
    hosts: tuple[str, ...]
    began: float | None  # seconds since 1970
    seconds: float | None  # it held its nodes for
    first_step: int | None  # that it went on after
    last_step: int | None
    processes: int | None
    device: str | None
    cause: str | None  # why it ended; None: it is at work, or nobody said
    reason: str | None  # how it ended
    detail: str | None


def curves(scan: MetricsScan) -> dict[str, list[Point]]:
    """Return the curves by name, as train/loss; those without a point are left out.

    Args:
        scan: has read the log on, with curves.
    """
    records = {"train": scan.training(), "val": scan.evaluations()}
    found = {
        f"{kind}/{name}": _thinned([_point(one, name) for one in records[kind] if name in one])
        for kind, names in CURVES.items()
        for name in names
    }
    return {name: points for name, points in found.items() if points}


def attempt_rows(attempts: Sequence[Attempt], now: float | None) -> list[AttemptRow]:
    """Return the attempts of a run, in order.

    Args:
        attempts: its ledger.
        now: seconds since 1970, if one is at work.
    """
    spent_s = durations_s(attempts, now)
    return [_row(one, spent_s.get(one.number)) for one in attempts]


def _row(one: Attempt, seconds: float | None) -> AttemptRow:
    claim, start, end = one.claim or {}, one.start or {}, one.end or {}
    first = one.claim or one.start or one.end or {}
    return AttemptRow(
        number=one.number,
        job=str(claim["job"]) if "job" in claim else None,
        hosts=tuple(map(str, claim.get("hosts") or ())),
        began=first.get("time"),
        seconds=seconds,
        first_step=one.first_step,
        last_step=one.last_step,
        processes=start.get("world"),
        device=start.get("device"),
        cause=one.cause,
        reason=one.reason,
        detail=str(end["detail"]).partition("\n")[0] if end.get("detail") else None,
    )


def _point(record: dict[str, Any], name: str) -> Point:
    value = record[name]
    is_number = isinstance(value, int | float) and abs(value) < float("inf")  # NaN isn't, either
    return record.get("step", 0), value if is_number else None


def _thinned(points: list[Point]) -> list[Point]:
    """Return every so many of them, and the last."""
    every = -(-len(points) // POINTS) or 1
    return [*points[:-1:every], *points[-1:]]
