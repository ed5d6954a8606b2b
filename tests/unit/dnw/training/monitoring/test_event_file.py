"""TensorBoard's files where people, disks and servers do to them what they do; its own reader reads them."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnw.training.monitoring import event_file
from dnw.training.monitoring.event_file import Board


def steps(folder: Path) -> list[int]:
    return [event.step for event in EventAccumulator(str(folder)).Reload().Scalars("loss")]


def drawn(board: Board, *steps: int) -> None:
    for step in steps:
        board.add_scalar("loss", 1.0, step)


def test_what_is_removed_while_it_is_written_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "tensorboard"
    with Board(folder, purge_step=None) as board:
        drawn(board, 1, 2)
        board.flush()
        shutil.rmtree(folder)
        drawn(board, 3, 4)
        board.flush()
        assert steps(folder) == [3, 4]
        drawn(board, 5)
    assert steps(folder) == [3, 4, 5]
    assert not caplog.records


@pytest.mark.parametrize("written", [0, 10], ids=["nothing", "half an event"])
def test_what_could_not_be_written_is_written_later(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    board = Board(tmp_path, purge_step=None)
    drawn(board, 1)
    board.flush()
    really, calls = os.write, []

    def refused(file: int, data: bytes) -> int:
        calls.append(file)
        if len(calls) == 1 and written:
            return really(file, data[:written])
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refused)
        drawn(board, 2)
        board.flush()
        tries = len(calls)
        drawn(board, 3)
        board.flush()
        assert len(calls) == tries  # no more than once a minute
    drawn(board, 4)
    board.close()
    drawn(board, 5)
    board.close()
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    told = [record.getMessage() for record in caplog.records if record.name == event_file.log.name]
    first, second = told
    assert "TensorBoard's files can't be written: Stale file handle; the run goes on" in first
    assert second.endswith("TensorBoard's files are written again")


def test_a_folder_that_can_not_be_made_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with Board(tmp_path / "file" / "tensorboard", purge_step=3) as board:
        drawn(board, 3)
    (told,) = {record.getMessage() for record in caplog.records}
    assert "can't be written: Not a directory; the run goes on" in told


def test_events_reach_the_disk_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Board(tmp_path, purge_step=None) as board:
        drawn(board, 1)
        assert steps(tmp_path) == [1]
        drawn(board, 2)
        assert steps(tmp_path) == [1]
        monkeypatch.setattr(event_file, "FLUSH_S", 0.0)
        drawn(board, 3)
        assert steps(tmp_path) == [1, 2, 3]
