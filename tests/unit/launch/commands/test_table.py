"""The table that the demo prints."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from run_folder import finish, make

from launch.commands.table import count, table


def test_a_row_says_what_came_out(tmp_path: Path) -> None:
    runs = [make(tmp_path, exp=exp) for exp in ("demo_random", "demo_dnw")]
    for run, top1 in zip(runs, (40.123, 61.5), strict=True):
        finish(
            run, exp=run.folder.parent.name, width=0.3, params=41_288, macs=2_500_000, top1=top1, attempts=2
        )
    shown = io.StringIO()
    console = Console(width=120, file=shown)
    console.print(table(runs))
    rows = [line.split("│") for line in shown.getvalue().splitlines() if "demo_" in line]
    assert [[cell.strip() for cell in row[1:-1]] for row in rows] == [
        ["demo_random x0.3", "41.3k", "2.5M", "40.12 %", "10", "2"],
        ["demo_dnw x0.3", "41.3k", "2.5M", "61.50 %", "10", "2"],
    ]


def test_a_run_without_a_result(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        table([make(tmp_path)])


def test_counts_as_papers_print_them() -> None:
    assert [count(number) for number in (999, 1000, 41_288, 4_231_976, 2_000_000_000)] == [
        *("999", "1k", "41.3k", "4.23M", "2G")
    ]
