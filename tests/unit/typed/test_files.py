"""What isn't a file where one should be is told in one line with its path: no traceback, and no wait."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from folder_digest import digest
from run_folder import make
from typed_lines import held_to_permissions, save, type_line

from launch.query import run_table

TABLE = yaml.safe_load((Path(__file__).parent / "files.yaml").read_text())
ROWS = [
    (owner, name, line, code)
    for owner, files in TABLE.items()
    for name, lines in files.items()
    for line, code in lines
]
TOLD = {"fifo": "is a FIFO", "folder": "is a folder", "link": "", "unreadable": "Permission denied"}
OF_STATUS = ("config.yaml", "attempts.jsonl", "launch.json", "metrics.jsonl", "lock", "result.json")
PLACES: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "folder": os.mkdir,
    "link": lambda path: path.symlink_to("nowhere"),
    "unreadable": lambda path: path.touch(0),
}


@pytest.fixture
def here(tmp_path: Path, launch_shards: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run that has checkpoints of steps 1 and 2, and with its images."""
    folder = tmp_path / "here"
    shutil.copytree(launch_shards, folder / "SHARDS")
    run = make(folder, data__dir=str(folder / "SHARDS"))
    for step in (1, 2):
        save(run, step)
    (folder / "RUN").symlink_to(run.folder)
    monkeypatch.chdir(folder)
    return folder


def put(place: str, path: Path) -> None:
    """Put something else in the place of a file, or of a folder."""
    if place == "unreadable" and path.is_dir():
        path.chmod(0)
        return
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    PLACES[place](path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("owner", "name", "line", "code", "place"),
    [
        pytest.param(*row, place, id=f"{row[1]}-{row[2]}-{place}")
        for row in ROWS
        for place in PLACES
        if (row[1], place) != ("checkpoints", "folder")  # which is what it should be
    ],
)
def test_what_is_no_file(
    here: Path,
    owner: str,
    name: str,
    line: str,
    code: int,
    place: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = here / {"run": "RUN", "shards": "SHARDS"}[owner] / name
    put(place, path)
    before = digest(here)
    with held_to_permissions():
        answer = type_line(line, capsys, monkeypatch)
    assert digest(here) == before
    assert answer.code == code, answer
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) == 1, answer.err
    assert name.split("/", maxsplit=1)[0] in answer.err or (place == "link" and "index" in answer.err)
    is_typed = line.split()[1].endswith(name)  # where a folder is taken for that of a run
    if name.endswith((".yaml", ".pt", ".json")) and not (is_typed and place == "folder"):
        assert TOLD[place] in answer.err


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OF_STATUS)
def test_a_run_that_cannot_be_read_is_a_row_among_others(
    here: Path,
    name: str,
    place: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = make(here, "seed=1-0123456780", data__dir=str(here / "SHARDS"))
    put(place, here / "example" / "default-0123456789" / name)
    before = digest(here)
    with held_to_permissions():
        answer = type_line("runs status --runs-dir .", capsys, monkeypatch)
    assert digest(here) == before
    assert (answer.code, answer.err) == (0, "")
    assert whole.name in answer.out
    notes = [row for row in answer.out.splitlines() if row.startswith("example/default-0123456789: ")]
    assert all(name in note and TOLD[place] in note for note in notes)
    assert notes or place == "link" or name == "result.json"


def test_rows_hold_what_can_be_read(here: Path) -> None:
    run = make(here, "seed=2-0123456781", data__dir=str(here / "SHARDS"))
    os.mkfifo(run.metrics)
    (row,), notes = run_table.rows([run])
    assert (row.run, row.step) == (run.name, 0)
    assert notes == [f"{run.name}: {run.metrics}: is a FIFO, must be a file"]
