"""Goodput: the share of its time on nodes that a run spent on steps that count, and where the rest went.

Told by the ledger and by metrics.jsonl, whose lines bear the attempt and the time. Each attempt cuts the file
back to where it goes on, so of the attempts before it are left the lines of what counts. The times of an
attempt are its first node's, so that clocks which don't agree do no harm.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run
from dnw.runs.ledger import Attempt
from dnw.runs.metrics_scan import Line, MetricsScan


@dataclass(frozen=True)
class Goodput:
    """Of all attempts so far: allocated_s = productive_s + startup_s + stalled_s + lost_s.

    The time between two attempts, in the queue say, belongs to none of these.
    """

    share: float | None  # productive of allocated, 0 to 1; None while nothing was allocated
    allocated_s: float  # from each claim to the attempt's end; of one under way, to now
    productive_s: float  # from each first step to the last thing that counts, but for stalled_s
    startup_s: float  # from each claim to the end of the first step, or of the attempt if it did none
    stalled_s: float  # what checkpoints that count held training up for
    lost_s: float  # the rest: steps that had to be done again, and what came after the last thing that counts
    steps_redone: int  # where attempts began before the step that the one before had come to, by so many
    restart_s: float | None  # median, over attempts, of the time from claim to first step; None: no step yet


@dataclass(frozen=True)
class _Span:
    """One attempt's share of each."""

    allocated_s: float
    startup_s: float
    stalled_s: float
    productive_s: float


def goodput(
    run: Run,
    now: float | None = None,
    scan: MetricsScan | None = None,
    ledgered: Sequence[Attempt] | None = None,
) -> Goodput:
    """Return the goodput of a run so far.

    What counts is a step, an evaluation or a checkpoint from which the run has gone on. Which of an attempt's
    steps do is known once the next one has begun; until then all of them count.

    Args:
        run: the run, under way or not.
        now: seconds since 1970, if an attempt is under way; None: one without an end lasted until its last
            sign of life, as does one that was lost with its node.
        scan: what has been read of its metrics; None: they are read now.
        ledgered: its attempts, if they have been read.
    """
    attempts = ledger.read(run) if ledgered is None else ledgered
    lines, logged = _lines(run, scan), _logged(attempts)
    spans = []
    for attempt in attempts:
        if attempt.claim is not None:
            until, over = _end(attempts, attempt, [*lines[attempt.number], *logged[attempt.number]], now)
            spans.append(_span(attempt, lines[attempt.number], until, over))
    begins = [one.step["time"] - one.claim["time"] for one in attempts if one.step and one.claim]
    return _total(spans, _steps_redone(attempts, logged), statistics.median(begins) if begins else None)


def published(result: Mapping[str, Any]) -> Goodput | None:
    """Return the goodput in a finished run's result; None if there is none, or another version's."""
    values = result.get("goodput")
    names = {field.name for field in dataclasses.fields(Goodput)}
    return Goodput(**values) if isinstance(values, dict) and values.keys() == names else None


def last_logged(run: Run) -> dict[str, Any] | None:
    """How far the attempt before had come as its log tells; to be noted before that is cut back."""
    lines = [line for line in jsonl.read(run.metrics) if "time" in line]
    return {key: lines[-1][key] for key in ("attempt", "step", "time")} if lines else None


def durations_s(
    attempts: Sequence[Attempt], now: float | None = None, scan: MetricsScan | None = None
) -> dict[int, float]:
    """Return how long each attempt held its nodes, from its claim to its end; as `goodput` adds them up.

    Args:
        attempts: a run's ledger.
        now: as for `goodput`.
        scan: what has been read of its metrics; None: the ledger alone tells.
    """
    lines, logged = scan.lines() if scan else defaultdict[int, list[Line]](list), _logged(attempts)
    return {
        one.number: _end(attempts, one, [*lines[one.number], *logged[one.number]], now)[0] - one.claim["time"]
        for one in attempts
        if one.claim is not None
    }


def _end(
    attempts: Sequence[Attempt], attempt: Attempt, lines: Sequence[Line], now: float | None
) -> tuple[float, bool]:
    """Return until when an attempt lasted, and whether it is over."""
    until, is_under_way = _until(attempt, lines), attempt is attempts[-1] and attempt.end is None
    return (max(until, now), False) if is_under_way and now is not None else (until, True)


def _lines(run: Run, scan: MetricsScan | None) -> defaultdict[int, list[Line]]:
    """Of the lines left of each attempt those of checkpoints, and when the last other one was written."""
    if scan is None:
        scan = MetricsScan(run.metrics)
        scan.read_on()
    return scan.lines()


def _total(spans: Sequence[_Span], steps_redone: int, restart_s: float | None) -> Goodput:
    allocated = sum(span.allocated_s for span in spans)
    startup = sum(span.startup_s for span in spans)
    stalled = sum(span.stalled_s for span in spans)
    productive = sum(span.productive_s for span in spans)
    return Goodput(
        share=round(productive / allocated, 4) if allocated > 0 else None,
        allocated_s=round(allocated, 3),
        productive_s=round(productive, 3),
        startup_s=round(startup, 3),
        stalled_s=round(stalled, 3),
        lost_s=max(0.0, round(allocated - productive - startup - stalled, 3)),
        steps_redone=steps_redone,
        restart_s=None if restart_s is None else round(restart_s, 3),
    )


def _span(attempt: Attempt, lines: Sequence[Line], until: float, is_over: bool) -> _Span:
    """Of one attempt, from what is left of its lines; all that one under way does counts so far."""
    assert attempt.claim is not None
    began = attempt.claim["time"]
    if attempt.step is None:
        return _Span(until - began, until - began, 0.0, 0.0)
    stepped = attempt.step["time"]
    counts_until = max([stepped, *map(_counts_until, lines)]) if is_over else until
    saves = [line for line in lines if line["kind"] == "save" and line["time"] > stepped]
    stalled = sum(map(_stalled_s, saves))
    return _Span(until - began, stepped - began, stalled, max(0.0, counts_until - stepped - stalled))


def _counts_until(line: Line) -> float:
    """When what a line tells of was done; a checkpoint's line is written once that is on the disk."""
    written_s = line["seconds"] - _stalled_s(line) if line["kind"] == "save" else 0.0
    return float(line["time"] - written_s)


def _stalled_s(save: Line) -> float:
    """How long training stood still; all the time, before checkpoints were written asynchronously."""
    return float(save.get("stalled", save["seconds"]))


def _until(attempt: Attempt, lines: Sequence[Line]) -> float:
    """When it ended, in seconds since 1970; of a lost one the end is noted later, maybe by hours."""
    events = [attempt.claim, attempt.start, attempt.step, None if attempt.reason == "lost" else attempt.end]
    return float(max(event["time"] for event in [*events, *lines] if event))


def _logged(attempts: Sequence[Attempt]) -> defaultdict[int, list[Line]]:
    """Return the last lines of attempts, kept or not, as those that began after them found them."""
    lines: defaultdict[int, list[Line]] = defaultdict(list)
    for attempt in attempts:
        if attempt.start and (line := attempt.start.get("found")):
            lines[line["attempt"]].append(line)
    return lines


def _steps_redone(attempts: Sequence[Attempt], logged: defaultdict[int, list[Line]]) -> int:
    """Of a killed attempt only those steps are known that were logged."""
    redone = 0
    for before, after in itertools.pairwise(attempt for attempt in attempts if attempt.start):
        events = [before.start, before.step, before.end, *logged[before.number]]
        reached = max(event["step"] for event in events if event and event.get("step") is not None)
        redone += max(0, reached - (after.first_step or 0))
    return redone
