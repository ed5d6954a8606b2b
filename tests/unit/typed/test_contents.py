"""Files that are there, but aren't what they should be: what is said, and that the remedy helps."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from folder_digest import digest
from run_folder import make
from typed_lines import save, type_line

from dnw.config import ANEW, load, plain
from dnw.runs import ledger
from dnw.runs.folder import Run, step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import MAGIC
from launch.cluster.submission import Submission
from launch.query.progress import progress

SETTINGS = {
    "empty": ("", f"config.yaml: empty; {ANEW}"),
    "cut off": ("version: 1\nexp: example\nseed: 0\n", "config.yaml: damaged, it lacks batch, micro_batch"),
    "no YAML": ("exp: [", "config.yaml: damaged (while parsing a flow node)"),
    "no text": ("\udcff", "config.yaml: damaged (invalid start byte)"),
    "of another version": ("version: 2\nexp: example\nnew: 1\n", "has version 2, this code reads version 1"),
    "gone": (None, f"config.yaml: gone from its run folder; {ANEW}"),
}


@pytest.fixture
def here(tmp_path: Path, launch_shards: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(launch_shards, folder / "SHARDS")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(here: Path) -> Run:
    run = make(here, data__dir=str(here / "SHARDS"))
    save(run, 1)
    return run


@pytest.mark.parametrize("state", SETTINGS)
@pytest.mark.parametrize(("command", "code"), [("evaluate", 1), ("export", 1), ("profile", 2), ("train", 1)])
def test_a_configuration_that_is_none(
    run: Run,
    state: str,
    command: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, said = SETTINGS[state]
    run.config.unlink()
    if text is not None:
        run.config.write_bytes(text.encode(errors="surrogateescape"))
    before = digest(run.folder)
    out = " out.safetensors" if command == "export" else ""
    answer = type_line(f"{command} {run.folder}{out}", capsys, monkeypatch)
    assert said in answer.err
    assert (answer.code, len(answer.err.splitlines())) == (code, 1)
    assert digest(run.folder) == before


def _sealed(content: bytes) -> bytes:
    return content + MAGIC + hashlib.sha256(content).digest()


def _state_dict(path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, path)


def _pickle(path: Path) -> None:
    path.write_bytes(_sealed(pickle.dumps({"version": 2, "harm": Harmful(path.with_name("harm"))})))


def _list(path: Path) -> None:
    torch.save([1, 2], path)
    path.write_bytes(_sealed(path.read_bytes()))


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize(
    ("make_file", "said"),
    [
        (_state_dict, "a file of torch.save by another program; python -m dnw.import_reference takes"),
        (_pickle, "no checkpoint of this project: it holds more than tensors and numbers"),
        (_list, "another version of the format"),
        (Path.touch, "damaged, its content is not what its SHA-256 was taken of"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate {}", "export {} out.safetensors", "profile {}"])
def test_a_checkpoint_that_is_none(
    here: Path,
    make_file: Callable[[Path], None],
    said: str,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_file(here / "x.pt")
    before = digest(here)
    answer = type_line(command.format("x.pt"), capsys, monkeypatch)
    assert answer.err.startswith("x.pt: ")
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.code != 0
    assert digest(here) == before


def test_an_empty_image(
    here: Path, image_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_folder / "train" / "cat" / "cat.0.JPEG"
    image.write_bytes(b"")
    answer = type_line(f"write imagefolder {image_folder} out --workers 1", capsys, monkeypatch)
    remedy = "replace it, or leave it out with --skip-bad"
    assert answer.err == f"{image}: not a readable image (empty): {remedy}\n"
    image.write_bytes(b"no image")
    answer = type_line(f"write imagefolder {image_folder} out --workers 1", capsys, monkeypatch)
    assert answer.err == f"{image}: not a readable image (cannot identify image file): {remedy}\n"


def test_other_images_into_the_same_folder(
    here: Path, image_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type_line(f"write imagefolder {image_folder} out --workers 1", capsys, monkeypatch).code == 0
    (image_folder / "train" / "cat" / "cat.0.JPEG").unlink()
    before = digest(here / "out")
    answer = type_line(f"write imagefolder {image_folder} out --workers 1", capsys, monkeypatch)
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert len(answer.err) < 400
    assert digest(here / "out") == before


def test_the_log_of_a_run_in_the_foreground(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Submission("foreground", "-", "here", 1.0, 1, 1, str(run.slurm), {}).write(run)
    answer = type_line(f"runs logs {run.folder}", capsys, monkeypatch)
    assert answer.code == 2
    assert "ran in the foreground of here, so the terminal has what it printed" in answer.err


def test_an_attempt_that_failed_early_leaves_what_was_saved(run: Run) -> None:
    save(run, 7)
    ledger.claim(run, 1, job="-", restart=0)
    ledger.end(run, 1, "error", step=0)
    assert progress(run, ledger.read(run)).step == 7


def test_a_finished_run_where_nothing_can_be_written(
    here: Path,
    lab: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "slurm +exp=static_dnw data.dir=SHARDS"
    assert type_line(line, capsys, monkeypatch).code == 0
    (folder,) = (here / "runs" / "static_dnw").iterdir()
    Run(folder).result.write_text('{"steps": 3, "top1": 12.5}')
    monkeypatch.setattr("os.access", lambda _path, mode: not mode & os.W_OK)
    before = digest(here)
    answer = type_line(line, capsys, monkeypatch)
    assert (answer.code, answer.err) == (0, "")
    assert "finished" in answer.out
    assert "12.5" in answer.out
    assert digest(here) == before


def test_fresh_helps_where_the_configuration_is_damaged(
    here: Path, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "slurm +exp=static_dnw data.dir=SHARDS"
    assert type_line(line, capsys, monkeypatch).code == 0
    (folder,) = (here / "runs" / "static_dnw").iterdir()
    Run(folder).config.write_text("exp: [")
    (lab / "queue").write_text("")
    answer = type_line(line, capsys, monkeypatch)
    assert (answer.code, ANEW in answer.err) == (2, True), answer
    answer = type_line(f"{line} fresh=true", capsys, monkeypatch)
    assert answer.code == 0, answer.err
    assert len(list((here / "runs" / "static_dnw").iterdir())) == 2


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("import {}/step-00000001.pt +exp=demo_dnw out.pt", 1, "a checkpoint of this project already"),
        ("evaluate {}", 1, "is no run folder; name that of the run, "),
        ("export {} x.safetensors", 1, "is no run folder; name that of the run, "),
        ("profile {}/.. width=0.2", 2, "a network has its settings; type it alone"),
    ],
)
def test_a_part_of_a_run(
    run: Run,
    line: str,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = digest(run.folder)
    answer = type_line(line.format(run.checkpoints), capsys, monkeypatch)
    assert said in answer.err
    assert (answer.code, len(answer.err.splitlines())) == (code, 1), answer.err
    assert digest(run.folder) == before


@pytest.mark.parametrize(("command", "code"), [("evaluate", 1), ("export", 1), ("profile", 2)])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite(
    run: Run,
    command: str,
    code: int,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a run has left them that diverged without its notice."""
    saved = dataclasses.replace(checkpoint.read(save(run, 2)), train=plain(load(run.config)))
    checkpoint.write(step_path(run.checkpoints, 1), checkpoint.encode(saved))
    next(iter(saved.model.values())).view(-1)[0] = float(value)
    checkpoint.write(step_path(run.checkpoints, 2), checkpoint.encode(saved))
    before = digest(run.folder)
    out = " out.safetensors" if command == "export" else ""
    answer = type_line(f"{command} {run.folder}{out}", capsys, monkeypatch)
    assert "values that aren't finite, in " in answer.err
    assert "; the run has diverged: name a checkpoint of an earlier step" in answer.err
    assert (answer.code, len(answer.err.splitlines())) == (code, 1)
    assert digest(run.folder) == before
    earlier = type_line(f"profile {step_path(run.checkpoints, 1)}", capsys, monkeypatch)
    assert (earlier.code, earlier.err) == (0, "")
