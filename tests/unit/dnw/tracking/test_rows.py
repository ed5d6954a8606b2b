"""metrics.jsonl as rows."""

from __future__ import annotations

import time
from pathlib import Path

from run_folder import finish, log, make, note

from dnw.runs import jsonl
from dnw.tracking.rows import RowReader


def test_rows_bear_the_names_that_tensorboard_has(tmp_path: Path) -> None:
    run = make(tmp_path)
    log(run, 1, time=5.0, attempt=1)
    log(run, 1, kind="val", time=6.0, attempt=1, loss=None)
    jsonl.append(
        run.metrics,
        {
            "step": 2,
            "kind": "slow",
            "rank": 3,
            "place": "n1, cuda:0",
            "is_slow": True,
            "ratio": 2.5,
            "time": 7.0,
        },
    )
    for sample in (7, 9):
        jsonl.append(run.metrics, {"step": 2, "kind": "replaced", "sample": sample, "time": 7.5})
    finish(run, goodput={"share": 0.5, "restart_s": None})
    train, val, slow, replaced, result = RowReader(run).new()
    assert (train.kind, train.step, train.time) == ("train", 1, 5.0)
    assert sorted(train.values) == ["train/images_per_second", "train/loss", "train/lr", "train/top1"]
    assert "val/loss" not in val.values  # not finite: JSON has none
    assert (slow.kind, dict(slow.values)) == ("slow/rank_3", {"slow/rank_3": 2.5})
    assert dict(replaced.values) == {"train/unreadable": 2}
    assert result.values["result/top1"] == 61.5
    assert result.values["result/goodput/share"] == 0.5


def test_a_run_at_work_has_its_goodput_at_the_newest_evaluation(tmp_path: Path) -> None:
    run, now = make(tmp_path), time.time()
    note(run, 1, "claim", now - 10, job="7", hosts=["n1"])
    note(run, 1, "start", now - 8, step=0)
    note(run, 1, "step", now - 6, step=1)
    log(run, 4, kind="val", time=now - 1, attempt=1)
    assert not [row for row in RowReader(run).new() if row.kind == "goodput"]
    (told,) = (row for row in RowReader(run).new(now) if row.kind == "goodput")
    assert told.step == 4
    assert 0 < told.values["goodput/share"] < 1


def test_only_new_rows_are_read_and_all_of_a_log_that_was_cut_back(tmp_path: Path) -> None:
    run = make(tmp_path)
    reader = RowReader(run)
    for step in range(1, 6):
        log(run, step, time=float(step), attempt=1)
    replaced = {"kind": "replaced", "time": 1.0}
    jsonl.append(run.metrics, {"step": 5, "sample": 1, **replaced})
    assert [row.step for row in reader.new()] == [1, 2, 3, 4, 5, 5]
    assert reader.new() == []
    jsonl.append(run.metrics, {"step": 6, "sample": 2, **replaced})
    (more,) = reader.new()
    assert dict(more.values) == {"train/unreadable": 2}
    finish(run, loss=float("nan"))
    (result,) = reader.new()
    assert "result/loss" not in result.values
    assert reader.new() == []
    jsonl.keep(run.metrics, lambda record: record["step"] < 4)
    log(run, 4, time=9.0, attempt=2)
    assert [row.step for row in reader.new()] == [1, 2, 3, 4]
