"""metrics.jsonl read on from where reading stopped: what is appended, cut off, replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dnw.runs import growing_file, metrics_scan
from dnw.runs.metrics_scan import MetricsScan


def line(step: int, kind: str = "train", attempt: int = 1, **facts: Any) -> str:
    values = {"step": step, "kind": kind, "loss": 1.0 / (step + 1), **facts}
    return json.dumps({**values, "attempt": attempt, "time": 1000.0 + step}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_only_what_is_new_is_read(path: Path) -> None:
    scan = MetricsScan(path, has_curves=True)
    assert scan.read_on()  # there is none yet
    path.write_text("".join(line(step, "val" if step % 50 == 49 else "train") for step in range(5000)))
    assert scan.read_on()
    assert scan.bytes_read == path.stat().st_size
    with path.open("a") as file:
        file.write(line(5000, "save", seconds=2.0) + line(5001) + '{"step": 5002, "ki')
        file.flush()
        assert scan.read_on()
        before = scan.bytes_read
        file.write('nd": "val", "top1": 60.0, "attempt": 1, "time": 7000.0}\n')
    assert scan.read_on()
    assert scan.bytes_read - before < 100
    saved, other = scan.lines()[1]
    assert (saved["step"], saved["seconds"]) == (5000, 2.0)
    assert other == {"kind": "other", "time": 7000.0}
    steps = [one["step"] for one in scan.training()]
    assert steps == sorted(set(steps))
    assert metrics_scan.POINTS / 2 < len(steps) <= 2 * metrics_scan.POINTS
    assert steps[0] == 0
    assert steps[-1] > 4900
    assert [one["step"] for one in scan.evaluations()] == [*range(49, 5000, 50), 5002]


def test_in_parts_as_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("train", "save", "val", "train", "slow")
    path.write_text(
        "".join(line(step, kinds[step % 5], 1 + step // 130, seconds=1.0) for step in range(400))
        + "damaged\n\0\0\0\n"
    )
    whole = MetricsScan(path)
    assert whole.read_on()
    monkeypatch.setattr(growing_file, "CHUNK_BYTES", 500)
    parts, count = MetricsScan(path), 1
    while not parts.read_on(most_bytes=2000):
        count += 1
    assert count > 10
    assert parts.lines() == whole.lines()
    assert {attempt: lines[-1]["time"] for attempt, lines in whole.lines().items()} == {
        1: 1129.0,
        2: 1259.0,
        3: 1389.0,
        4: 1399.0,
    }


@pytest.mark.parametrize("how", ["renamed", "rewritten", "shorter", "gone"])
def test_a_file_in_its_place_is_read_anew(path: Path, how: str) -> None:
    """An attempt that goes on cuts the log back to where it does."""
    path.write_text("".join(line(step) for step in range(300)))
    scan = MetricsScan(path, has_curves=True)
    scan.read_on()
    other = "".join(line(step, attempt=2) for step in range(100, 100 if how == "gone" else 500))
    if how == "renamed":
        path.with_name("new").write_text(other)
        path.with_name("new").replace(path)
    elif how == "gone":
        path.unlink()
    else:
        path.write_text(line(7, attempt=2) if how == "shorter" else other)
    assert scan.read_on()
    assert set(scan.lines()) == (set() if how == "gone" else {2})
    assert len({one["attempt"] for one in scan.training()}) == (how != "gone")


def test_lines_of_an_earlier_version_and_endless_ones(path: Path) -> None:
    """They had neither attempt nor time; what has no line break is nothing."""
    path.write_text('{"step": 1, "kind": "train", "loss": 1.0}\n' * 3 + line(9) + "x" * (3 * 2**20))
    scan = MetricsScan(path, has_curves=True)
    assert scan.read_on()
    assert scan.lines() == {1: [{"kind": "other", "time": 1009.0}]}
    assert len(scan.training()) == 4
