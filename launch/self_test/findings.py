"""What the checks of a self-test have found, kept in its run folder: a file each, once it is known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dnw.runs.folder import Run
from shards.atomic import replacing

State = Literal["passed", "failed", "not here"]


@dataclass(frozen=True)
class Finding:
    """What one check has found."""

    state: State
    figure: str = ""  # what was measured; or why the check can't be made here
    tolerance: str = ""  # what it was held to


@dataclass(frozen=True)
class Record:
    """A finding, and what it took."""

    check: str
    shows: str
    state: State
    figure: str
    tolerance: str
    seconds: float
    cases: tuple[str, ...]  # the runs that it rests on


def judged(is_right: bool, figure: str, tolerance: str = "") -> Finding:
    """Return what a check found that could be made.

    Args:
        is_right: whether it has passed.
        figure: what was measured, with its unit.
        tolerance: what was allowed; empty where nothing is but the same.
    """
    return Finding("passed" if is_right else "failed", figure, tolerance)


def folder(run: Run) -> Path:
    """Where the records of a self-test lie."""
    return run.folder / "checks"


def write(run: Run, record: Record) -> None:
    """Keep a record."""
    folder(run).mkdir(exist_ok=True)
    with replacing(folder(run) / f"{record.check}.json") as file:
        file.write((json.dumps(asdict(record), indent=1) + "\n").encode())


def read(run: Run, order: Iterable[str]) -> list[Record]:
    """All records there are, in the order of these names."""
    found = []
    for name in order:
        path = folder(run) / f"{name}.json"
        if path.exists():
            values = json.loads(path.read_bytes())
            found.append(Record(**{**values, "cases": tuple(values["cases"])}))
    return found


def remove(run: Run, record: Record) -> None:
    """Forget a record: its check is made again."""
    (folder(run) / f"{record.check}.json").unlink()
