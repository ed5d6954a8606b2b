"""Runs looked at again and again: what is read, asked, and told of damaged ones."""

from __future__ import annotations

import builtins
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from run_folder import Slurm, finish, log, make, note, slurm, submit

from dnw.runs.folder import Run
from launch.query import run_table
from launch.query.run_table import RunTable

NOW = time.time()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


def begun(runs: Path, name: str, job: str = "7") -> Run:
    run = make(runs, name)
    submit(run, job, at=NOW - 60)
    note(run, 1, "claim", NOW - 50, job=job, restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "start", NOW - 40, step=0, world=4, nodes=1, device="cuda:0")
    for step in range(50):
        log(run, step, attempt=1, time=NOW - 30 + step / 10)
    return run


class Opened:
    """Paths of files that are opened, each time that one is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        open_descriptor, open_file = os.open, io.open

        def opened(path: Any, *words: Any, **more: Any) -> Any:
            self.paths.append(str(path))
            return open_descriptor(path, *words, **more)

        def opened_file(path: Any, *words: Any, **more: Any) -> Any:
            self.paths.append(str(path))
            return open_file(path, *words, **more)

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(builtins, "open", opened_file)
        monkeypatch.setattr(io, "open", opened_file)

    def below(self, folder: Path) -> list[str]:
        found = [path for path in self.paths if path.startswith(str(folder))]
        self.paths.clear()
        return found


def test_a_second_look_reads_what_has_changed(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [begun(tmp_path / "runs", f"default-{number:010}", str(number)) for number in range(500)]
    for run in runs[:-2]:
        finish(run)
    note(runs[-1], 1, "end", NOW - 5, reason="stopped", cause="preempted", step=49)
    note(runs[-2], 1, "end", NOW - 5, reason="error", step=49)
    cluster.says("squeue")
    opened, known = Opened(monkeypatch), RunTable()
    found, _ = known.look(runs)
    assert [row.state for row in found] == ["finished"] * 498 + ["failed", "stopped"]
    first = opened.below(tmp_path / "runs")
    assert 3 * 498 <= len(first) <= 3 * 500 + 12  # of a finished one: launch.json, result.json, the ledger
    assert known.look(runs)[0] == found
    assert opened.below(tmp_path / "runs") == []
    log(runs[-1], 50, attempt=1, time=NOW)
    (row,) = [row for row in known.look(runs)[0] if row.folder == str(runs[-1].folder)]
    assert row.loss == 1.5
    again = opened.below(tmp_path / "runs")
    assert {Path(path).name for path in again} == {"metrics.jsonl"}
    assert len(again) <= 4


def test_long_logs_are_read_in_parts(tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [begun(tmp_path / "runs", f"default-{number:010}", str(number)) for number in range(2)]
    for run in runs:
        note(run, 1, "step", NOW - 35, step=1)
    cluster.says("squeue")
    cluster.says("sacct")
    known = RunTable(scan_bytes=runs[0].metrics.stat().st_size + 1)
    told = [sum(row.goodput is not None for row in known.look(runs)[0]) for _ in range(3)]
    assert told == [1, 2, 2]  # side by side: either of them is the first


def test_slurm_is_asked_for_places_once_a_minute_and_for_energy_less_often(
    tmp_path: Path, cluster: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path / "runs", "default-0000000007")
    cluster.says("squeue", f"7|PENDING|Priority||low|{NOW:.0f}|{NOW + 7200:.0f}|{run.slurm}/1/job.sh\n")
    cluster.says("places", "3|low|900|ann\n7|low|500|me\n")
    cluster.says("sacct", f"7|{NOW - 55:.0f}|{NOW:.0f}|1800000\n")
    known = RunTable(asks_energy=True)
    for _ in range(3):
        ((row,), notes) = known.look([run])
    assert notes == []
    assert (row.state, row.place.ahead, row.place.waiting, row.energy_kwh) == ("queued", 1, 2, 0.5)
    assert row.starts == round(NOW + 7200)
    assert row.cost.node_hours > 0
    assert row.cost.gpu_hours == pytest.approx(4 * row.cost.node_hours, abs=2e-4)
    kinds = [call.split()[0] + " %Q" * ("%Q" in call) for call in cluster.calls]
    assert [kinds.count(kind) for kind in ("squeue", "squeue %Q", "sacct")] == [3, 1, 1]
    monkeypatch.setattr(run_table, "time", type("Clock", (), {"time": time.time, "monotonic": lambda: 1e9}))
    cluster.says("sacct", err="sacct: error: slurmdbd is down", code=1)
    cluster.says("places", err="slurm_load_jobs error: no", code=1)
    ((row,), notes) = known.look([run])
    assert (row.place, row.energy_kwh) == (None, None)
    assert [said.partition(";")[2] for said in notes] == [
        " places in the queue aren't known",
        " the energy of runs isn't known",
    ]


def test_without_asking_files_tell(tmp_path: Path, cluster: Slurm) -> None:
    ((row,), notes) = RunTable().look([begun(tmp_path / "runs", "default-0000000007")], asks_slurm=False)
    assert row.state == "running"
    assert [said.partition(";")[0] for said in notes] == ["squeue: not asked yet"]
    assert cluster.calls == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("attempts.jsonl", '{"attempt": 1, "event": "claim", "time": "noon"}'),
        ("attempts.jsonl", '{"event": "claim", "time": 1}'),
        ("attempts.jsonl", '{"attempt": [], "event": "claim", "time": 1}'),
        ("attempts.jsonl", '{"attempt": 2, "event": "start", "time": 1, "step": "x"}'),
        ("metrics.jsonl", '{"kind": "train", "step": "far", "loss": "low"}'),
        ("metrics.jsonl", '{"kind": "train", "step": null}'),
        ("result.json", '{"steps": [], "goodput": 3}'),
        ("launch.json", "[1]"),
    ],
)
def test_odd_records_hide_no_other_run(tmp_path: Path, cluster: Slurm, file: str, content: str) -> None:
    odd, other = (begun(tmp_path / "runs", f"default-{number:010}", str(number)) for number in range(2))
    finish(other)
    with (odd.folder / file).open("a" if file.endswith("l") else "w") as damaged:
        damaged.write(content + "\n")
    cluster.says("squeue")
    cluster.says("sacct")
    found, _ = RunTable().look([odd, other])
    assert found[1].state == "finished"
    assert found[0].run == odd.name
    json.dumps([str(row) for row in found])


def test_a_folder_that_vanishes_while_it_is_looked_at(tmp_path: Path, cluster: Slurm) -> None:
    run = make(tmp_path / "runs")
    known = RunTable()
    known.look([run])
    for path in sorted(run.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run.folder.rmdir()
    ((row,), notes) = known.look([run])
    assert row.state == "unreadable"
    assert notes
