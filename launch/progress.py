"""How far a run is, how good, how fast: from its configuration and what it has logged."""

from __future__ import annotations

import functools
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnw import config, schedule
from dnw.config import ConfigError
from dnw.ledger import Attempt
from dnw.run import Run
from shards.errors import ShardError

TAIL_BYTES = 2**18  # of metrics.jsonl: thousands of lines, the last evaluation among them
INTERVALS = 5  # of logging, over which speed is judged


@dataclass(frozen=True)
class Progress:
    """What is not known (yet) is None."""

    step: int  # steps done, saved or not
    total: int | None
    epoch: float | None
    loss: float | None  # in training, over the last log interval
    top1: float | None  # likewise, percent
    val_top1: float | None  # of the last evaluation, percent
    images_per_second: float | None
    left_s: float | None  # to the end of the run, at that speed


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    steps: int | None
    batch: int | None  # images in a step
    problem: str = ""  # why that can't be told


def progress(run: Run, attempts: Sequence[Attempt]) -> Progress:
    """How far a run is."""
    if run.result.exists():
        result = json.loads(run.result.read_text())
        return _finished(result, result.get("steps", 0))
    logged = _recent(run.metrics)
    trained = [line for line in logged if line.get("kind") == "train"]
    validated = [line["top1"] for line in logged if line.get("kind") == "val"]
    last = trained[-1] if trained else {}
    whole, step = length(run.config), _step(attempts, int(last.get("step", 0)))
    speeds = [line["images_per_second"] for line in trained[-INTERVALS:]]
    speed = statistics.median(speeds) if speeds else None
    left = (whole.steps - step) * whole.batch / speed if whole.steps and whole.batch and speed else None
    return Progress(
        step=step,
        total=whole.steps,
        epoch=last.get("epoch"),
        loss=last.get("loss"),
        top1=last.get("top1"),
        val_top1=validated[-1] if validated else None,
        images_per_second=speed,
        left_s=left,
    )


@functools.cache
def length(frozen: Path) -> Length:
    """How long the run of a frozen configuration is, from it and from the index of the images."""
    train = None
    try:
        train = config.load(frozen)
        return Length(
            schedule.total_steps(train, 0 if train.steps else _samples(train.data.dir)), train.batch
        )
    except (ConfigError, ShardError) as error:
        return Length(None, train.batch if train else None, str(error).splitlines()[0])


def _samples(folder: Path) -> int:
    from shards.index import Index  # noqa: PLC0415  (slow to import)

    return Index.record(folder, "train").num_samples


def _finished(result: dict[str, Any], steps: int) -> Progress:
    return Progress(steps, steps, None, result.get("loss"), None, result.get("top1"), None, None)


def _step(attempts: Sequence[Attempt], logged: int) -> int:
    """Steps done: the newest attempt knows best where it began and ended, the log what lies between."""
    newest = attempts[-1] if attempts else Attempt(0)
    if newest.last_step is not None:
        return newest.last_step
    return max(newest.first_step or 0, logged)


def _recent(path: Path) -> list[dict[str, Any]]:
    """The last whole records of a file that may be long."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - TAIL_BYTES))
        lines = file.read().split(b"\n")
    whole = (line for line in lines if line.startswith(b"{") and line.endswith(b"}"))
    return [json.loads(line) for line in whole]
