"""Pictures in TensorBoard's files."""

from __future__ import annotations

from pathlib import Path

from event_files import draw
from run_folder import make

from dnw.tracking.pictures import PictureReader


def test_each_picture_once_however_often_its_step_was_redone(tmp_path: Path) -> None:
    run = make(tmp_path)
    reader = PictureReader(run)
    assert reader.new() == []
    draw(run, 8, "wiring/b", "wiring/a")
    draw(run, 4, "wiring/a")
    assert [(one.step, one.name) for one in reader.new()] == [
        (4, "wiring/a"),
        (8, "wiring/a"),
        (8, "wiring/b"),
    ]
    draw(run, 8, "wiring/a", "wiring/c")  # after a kill
    (more,) = reader.new()
    assert (more.name, more.step, more.time) == ("wiring/c", 8, 1e9 + 8)
    assert more.png.startswith(b"\x89PNG")
    assert reader.new() == []


def test_what_is_being_written_comes_later_and_damage_ends_a_file(tmp_path: Path) -> None:
    run = make(tmp_path)
    draw(run, 1, "wiring/a")
    (path,) = run.tensorboard.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    reader = PictureReader(run)
    assert reader.new() == []
    path.write_bytes(whole + b"\xff" * 40)
    assert len(reader.new()) == 1
    assert reader.new() == []
