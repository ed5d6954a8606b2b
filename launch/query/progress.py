"""How far a run is, how good, how fast: from its configuration and what it has logged."""

from __future__ import annotations

import functools
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dnw import config, schedule
from dnw.config import ConfigError, Train
from dnw.runs import jsonl
from dnw.runs.folder import Run, newest_step
from dnw.runs.ledger import Attempt
from launch.query.remembered import Stamp, stamp
from shards import command
from shards.errors import ShardError
from shards.files.regular_file import open_file

TAIL_BYTES = 2**18  # of metrics.jsonl: thousands of lines, the last evaluation among them
MOST_SLOW = 100  # records of slow ranks that are read
INTERVALS = 5  # of logging, over which speed is judged


@dataclass(frozen=True)
class Progress:
    """How far a run has come; what is not known (yet) is None."""

    step: int  # steps done, saved or not
    total: int | None
    epoch: float | None
    loss: float | None  # in training, over the last log interval
    top1: float | None  # likewise, percent
    val_top1: float | None  # of the last evaluation, percent
    images_per_second: float | None
    left_s: float | None  # to the end of the run, at that speed
    slow: tuple[str, ...] = ()  # ranks that keep the others waiting


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    steps: int | None
    batch: int | None  # images in a step
    problem: str = ""  # why that can't be told


_LENGTHS: dict[tuple[Path, Stamp], Length] = {}


def progress(run: Run, attempts: Sequence[Attempt], result: Mapping[str, Any] | None = None) -> Progress:
    """Return how far a run is; `result` is what came out of it, if it is done.

    Args:
        run: any.
        attempts: its ledger.
        result: what came out of it; None where it isn't done.
    """
    if result is not None:
        return _finished(result, result.get("steps", 0))
    lines = _recent(run.metrics)
    trained, validated = _last(lines, "train", INTERVALS), _last(lines, "val", 1)
    last = trained[0] if trained else {}
    whole, step = (
        length(run.config),
        _step(attempts, max(int(last.get("step", 0)), newest_step(run.checkpoints) or 0)),
    )
    speeds = [line["images_per_second"] for line in trained if "images_per_second" in line]
    speed = statistics.median(speeds) if speeds else None
    left = (whole.steps - step) * whole.batch / speed if whole.steps and whole.batch and speed else None
    return Progress(
        step=step,
        total=whole.steps,
        epoch=last.get("epoch"),
        loss=last.get("loss"),
        top1=last.get("top1"),
        val_top1=validated[0].get("top1") if validated else None,
        images_per_second=speed,
        left_s=left,
        slow=_slow(lines, attempts),
    )


def length(frozen: Path) -> Length:
    """How long the run of a frozen configuration is, from it and from the index of the images."""
    key = (frozen, stamp(frozen))
    if key not in _LENGTHS:
        found = _length(frozen)
        if found.problem:  # may go away
            return found
        _LENGTHS[key] = found
    return _LENGTHS[key]


def _length(frozen: Path) -> Length:
    train, problem = _loaded(frozen, stamp(frozen))
    if train is None:
        return Length(None, None, problem)
    try:
        samples = 0 if train.steps else _samples(train.data.dir)
    except (ShardError, OSError) as error:
        return Length(None, train.batch, (command.explain(error) or str(error)).splitlines()[0])
    return Length(schedule.total_steps(train, samples), train.batch)


def unreadable(frozen: Path) -> str:
    """Why this code can't read a frozen configuration; empty if it can."""
    return _loaded(frozen, stamp(frozen))[1]


@functools.cache
def _loaded(frozen: Path, _: Stamp) -> tuple[Train | None, str]:
    try:
        return config.load(frozen), ""
    except (ConfigError, OSError) as error:
        return None, (command.explain(error) or str(error)).splitlines()[0]


def _samples(folder: Path) -> int:
    from shards.index import Index  # noqa: PLC0415  (slow to import)

    return Index.record(folder, "train").num_samples


def _finished(result: Mapping[str, Any], steps: int) -> Progress:
    return Progress(steps, steps, None, result.get("loss"), None, result.get("top1"), None, None)


def _step(attempts: Sequence[Attempt], known: int) -> int:
    """Return the steps done, by the newest attempt if it has ended, else by the log."""
    newest = attempts[-1] if attempts else Attempt(0)
    if newest.last_step is not None and newest.start is not None:
        return newest.last_step
    return max(
        newest.last_step or 0, newest.first_step or 0, known
    )  # an attempt that failed before it began knows nothing


def _slow(lines: Sequence[bytes], attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Return the ranks of the newest attempt that were slow when last heard of."""
    newest: dict[int, dict[str, Any]] = {}
    for record in _last(lines, "slow", MOST_SLOW):
        if attempts and record["attempt"] == attempts[-1].number:
            newest.setdefault(record["rank"], record)
    return tuple(
        f"rank {rank} ({record['place']}) takes {record['ratio']:.1f} times the median, seen at step "
        f"{record['step']}"
        for rank, record in sorted(newest.items())
        if record["is_slow"]
    )


def _recent(path: Path) -> list[bytes]:
    """Return the last lines of a file that may be long."""
    if not path.exists():
        return []
    with open_file(path) as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - TAIL_BYTES))
        return file.read().split(b"\n")


def _last(lines: Sequence[bytes], kind: str, count: int) -> list[dict[str, Any]]:
    """Return the last so many records of a kind, the newest first; no more lines are decoded than need be."""
    mark = f'"{kind}"'.encode()
    records = jsonl.whole(line for line in reversed(lines) if mark in line)
    return list(islice((record for record in records if record.get("kind") == kind), count))
