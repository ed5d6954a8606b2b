"""The paper's table from finished runs: Model | Params | MACs | Accuracy."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from dnw.runs.folder import Run
from shards.files.regular_file import read_bytes


def table(runs: Sequence[Run]) -> Table:
    """One row for each run that is done.

    Raises:
        FileNotFoundError: one of them isn't.
    """
    rows = Table("Model", title_justify="left")
    for heading in ("Params", "MACs", "Accuracy", "Steps", "Attempts"):
        rows.add_column(heading, justify="right")
    for run in runs:
        result = json.loads(read_bytes(run.result))
        rows.add_row(
            f"{result['exp']} x{result['width']:g}",
            count(result["params"]),
            count(result["macs"]),
            f"{result['top1']:.2f} %",
            str(result["steps"]),
            str(result["attempts"]),
        )
    return rows


def count(number: int) -> str:
    """Return a count as papers print it."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
