"""metrics.jsonl as trackers take it: rows of values of one kind and step, under TensorBoard's names."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dnw.runs import jsonl
from dnw.runs.folder import Run
from dnw.runs.goodput import goodput
from dnw.runs.growing_file import GrowingFile
from dnw.runs.metrics_scan import MetricsScan
from shards.files.regular_file import read_bytes

_NO_VALUES = frozenset({"step", "kind", "attempt", "time", "epoch", "samples", "told"})


@dataclass(frozen=True)
class Row:
    """What was measured of one kind at one step: `kind` and `step` together name it."""

    kind: str  # train, val, wiring, ...
    step: int
    time: float  # seconds since 1970
    values: Mapping[str, float]  # train/loss, ...


class RowReader:
    """Reads the rows of a run, each once, from where reading stopped."""

    def __init__(self, run: Run) -> None:
        """Begin before the first row of a run, under way or not."""
        self._run = run
        self._file = GrowingFile(run.metrics, self._take, self._forget)
        self._scan = MetricsScan(run.metrics)
        self._new: list[dict[str, Any]] = []
        self._told: float | None = None  # when the result was written that was read
        self._forget()

    def new(self, now: float | None = None) -> list[Row]:
        """Return the rows since the last call; redone steps, which stand there once, are new again.

        Args:
            now: seconds since 1970, of a run under way: its goodput, at the newest evaluation; None: without.

        Raises:
            OSError: they can't be read.
        """
        self._file.read_on()
        records = self._new
        self._new = []
        found = [*_measured(records), *self._unreadable(records), *self._result()]
        if now is not None and (validated := [one for one in records if one.get("kind") == "val"]):
            self._scan.read_on()
            told = _numbers(dataclasses.asdict(goodput(self._run, now, self._scan)), "goodput")
            found.append(Row("goodput", int(validated[-1]["step"]), now, told))
        return [row for row in {(row.kind, row.step): row for row in found}.values() if row.values]

    def _forget(self) -> None:
        self._new = []
        self._replaced = 0

    def _take(self, block: bytes, _: int) -> None:
        self._new.extend(jsonl.whole(block.split(b"\n")))

    def _unreadable(self, records: list[dict[str, Any]]) -> Iterator[Row]:
        """Yield how many samples couldn't be read so far."""
        for record in (record for record in records if record.get("kind") == "replaced"):
            self._replaced += 1
            values = {"train/unreadable": self._replaced}
            yield Row("replaced", int(record["step"]), float(record["time"]), values)

    def _result(self) -> Iterator[Row]:
        if not self._run.result.exists() or self._run.result.stat().st_mtime == self._told:
            return
        self._told = self._run.result.stat().st_mtime
        result = json.loads(read_bytes(self._run.result))
        spent = result.get("goodput")
        values = _numbers(result, "result") | (
            _numbers(spent, "result/goodput") if isinstance(spent, dict) else {}
        )
        yield Row("result", int(result["steps"]), self._told, values)


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


def _numbers(facts: Mapping[str, Any], group: str) -> dict[str, float]:
    """Return those facts that are finite numbers, under their names in a group; rising by name."""
    return {
        f"{group}/{name}": float(facts[name])
        for name in sorted(facts)
        if isinstance(facts[name], int | float)
        and not isinstance(facts[name], bool)
        and math.isfinite(facts[name])
    }
