import json
from pathlib import Path

import pytest
from run_folder import log, make, note

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.query import progress as module
from launch.query.progress import Length, Progress, length, progress, unreadable


def of(run: Run) -> Progress:
    return progress(run, ledger.read(run))


def test_speed_is_the_median_of_the_last_intervals(tmp_path: Path) -> None:
    run = make(tmp_path, steps=100, batch=32)
    log(run, 1, images_per_second=9999.0)
    for step, speed in enumerate((10.0, 20.0, 64.0, 80.0, 90.0), 2):
        log(run, step, images_per_second=speed, loss=2.0 - step / 10)
    log(run, 6, kind="val", top1=55.5)
    found = of(run)
    assert (found.step, found.total, found.epoch, found.images_per_second) == (6, 100, 0.6, 64.0)
    assert found.loss == pytest.approx(1.4)
    assert found.val_top1 == 55.5
    assert found.left_s == 94 * 32 / 64


def test_the_ledger_knows_where_an_attempt_began_and_ended(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert of(run).step == 0
    log(run, 8)
    note(run, 1, "start", 1.0, step=4)
    assert of(run).step == 8
    note(run, 1, "end", 2.0, reason="stopped", step=7)
    assert of(run).step == 7


def test_a_finished_run_is_its_result(tmp_path: Path) -> None:
    found = progress(make(tmp_path), [], {"steps": 10, "top1": 61.5, "loss": 1.1})
    assert (found.step, found.total, found.val_top1, found.loss, found.left_s) == (10, 10, 61.5, 1.1, None)


def test_of_a_long_log_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path)
    for step in range(1, 30):
        log(run, step)
    size = len(json.dumps(json.loads(run.metrics.read_text().splitlines()[-1])))
    monkeypatch.setattr(module, "TAIL_BYTES", 2 * size)
    assert of(run).step == 29


def test_how_long_a_run_is(tmp_path: Path, pets_shards: Path) -> None:
    assert length(make(tmp_path, steps=50).config) == Length(50, 32)
    epochs = make(tmp_path, "a", steps=None, epochs=8, batch=4, micro_batch=4, data__dir=str(pets_shards))
    assert length(epochs.config) == Length(22, 4)  # of 11 images
    lost = make(tmp_path, "b", steps=None, epochs=8, data__dir="nowhere")
    assert length(lost.config).steps is None
    assert length(lost.config).problem.startswith("nowhere")


def test_a_configuration_that_can_not_be_read(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert unreadable(run.config) == ""
    other = make(tmp_path, "other")
    other.config.write_text("[")
    assert str(other.config) in unreadable(other.config)
    assert (of(other).step, of(other).total) == (0, None)
