"""metrics.jsonl as trackers take it: rows of values of one kind and step, under TensorBoard's names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dnw.runs import jsonl
from dnw.runs.folder import Run
from dnw.runs.goodput import goodput
from shards.regular_file import read_bytes

_NO_VALUES = frozenset({"step", "kind", "attempt", "time", "epoch", "samples", "told"})


@dataclass(frozen=True)
class Row:
    """What was measured of one kind at one step: `kind` and `step` together name it."""

    kind: str  # train, val, wiring, ...
    step: int
    time: float  # seconds since 1970
    values: Mapping[str, float]  # train/loss, ...


def rows(run: Run, now: float | None = None) -> list[Row]:
    """Return all rows of a run, as metrics.jsonl has them now; redone steps stand there once.

    Args:
        run: the run, under way or not.
        now: seconds since 1970, of a run under way: its goodput, at the newest evaluation; None: without.
    """
    records = jsonl.read(run.metrics)
    found = [*_measured(records), *_unreadable(records), *_result(run)]
    if now is not None and (validated := [one for one in records if one.get("kind") == "val"]):
        told = _numbers(dataclasses.asdict(goodput(run, now)), "goodput")
        found.append(Row("goodput", int(validated[-1]["step"]), now, told))
    return [row for row in {(row.kind, row.step): row for row in found}.values() if row.values]


def _measured(records: list[dict[str, Any]]) -> Iterator[Row]:
    for record in records:
        kind = str(record.get("kind", "train"))
        if kind == "replaced":
            continue
        if kind == "slow":
            kind = f"slow/rank_{record['rank']}"
            values: dict[str, float] = {kind: float(record["ratio"])}
        else:
            values = _numbers({name: record[name] for name in record.keys() - _NO_VALUES}, kind)
        yield Row(kind, int(record["step"]), float(record.get("time", 0.0)), values)


def _unreadable(records: list[dict[str, Any]]) -> Iterator[Row]:
    """Yield how many samples couldn't be read so far."""
    replaced = (record for record in records if record.get("kind") == "replaced")
    for count, record in enumerate(replaced, start=1):
        yield Row("replaced", int(record["step"]), float(record["time"]), {"train/unreadable": count})


def _result(run: Run) -> Iterator[Row]:
    if run.result.exists():
        result = json.loads(read_bytes(run.result))
        spent = result.get("goodput")
        values = _numbers(result, "result") | (
            _numbers(spent, "result/goodput") if isinstance(spent, dict) else {}
        )
        yield Row("result", int(result["steps"]), run.result.stat().st_mtime, values)


def _numbers(facts: Mapping[str, Any], group: str) -> dict[str, float]:
    """Return those facts that are numbers, under their names in a group; rising by name."""
    return {
        f"{group}/{name}": float(facts[name])
        for name in sorted(facts)
        if isinstance(facts[name], int | float) and not isinstance(facts[name], bool)
    }
