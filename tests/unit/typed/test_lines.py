"""Lines that are refused: in one line, with the word that helps, and with nothing changed on the disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from folder_digest import digest
from run_folder import make
from typed_lines import type_line

from launch import cli

HERE = Path(__file__).parent
COMPOSED = yaml.safe_load((HERE / "composed.yaml").read_text())
LAUNCHED = yaml.safe_load((HERE / "launched.yaml").read_text())
COMPOSING = {"slurm": ("slurm {}", 2), "local": ("local {}", 2), "profile": ("profile {}", 2)}
COMPOSING["import"] = ("import weights.pt {} out.pt", 1)
# Two commands compose by launch/compose.py, two by dnw/compose.py: one of each two gets some words only.
SOME = 8
TYPED = [
    (command, words, word)
    for number, (words, word) in enumerate(COMPOSED)
    for command in COMPOSING
    if command in ("slurm", "profile") or number % SOME == 0
]


@pytest.fixture
def here(tmp_path: Path, launch_shards: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type in, without a Slurm."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "SHARDS").symlink_to(launch_shards)
    (folder / "NOWHERE").symlink_to("away")
    (folder / "FILE").write_text("no more than this")
    for name in ("default-0123456789", "seed=1-0123456780"):
        make(folder / "RUNS", name)
    torch.save({"fc.weight": torch.zeros(2)}, folder / "weights.pt")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return folder


def check(line: str, code: int, word: str, lines: int, here: Path, *by: Any) -> None:
    before = digest(here)
    answer = type_line(line.replace("LONG", "n" * 300), *by)
    assert "Traceback" not in answer.err
    assert word in answer.err
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (code, "", lines), answer.err
    assert " object at 0x" not in answer.err
    assert digest(here) == before


@pytest.mark.parametrize(
    ("command", "words", "word"), TYPED, ids=[f"{command} {words}" for command, words, _ in TYPED]
)
def test_words_that_compose_nothing(
    here: Path,
    command: str,
    words: str,
    word: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line, code = COMPOSING[command]
    check(line.format(words), code, word, 1, here, capsys, monkeypatch)


@pytest.mark.parametrize("row", LAUNCHED, ids=[row[0] for row in LAUNCHED])
def test_lines_that_launch_nothing(
    here: Path, row: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, code, word, lines = [*row, 1][:4]
    check(line, code, word, lines, here, capsys, monkeypatch)


def test_each_command_of_the_readme_is_typed_wrongly() -> None:
    """A command that is new there needs lines in launched.yaml."""
    readme = (HERE.parents[2] / "README.md").read_text()
    told = {
        *re.findall(r"python launch/(?:runs\.py )?(\w+)", readme),
        *re.findall(r"-m (?:dnw|shards)\.(\w+)", readme),
    }
    named = (told | {*cli.COMMANDS, *cli.SHARDS, "slurm", "local"}) - {"runs", "shards", "submit", "run"}
    lines = [
        *(row[0] for row in LAUNCHED),
        *(form.format(row[0]) for form, _ in COMPOSING.values() for row in COMPOSED),
    ]
    typed = {word for line in lines for word in line.removeprefix("runs ").split()[:1]}
    assert {name.removesuffix("_reference") for name in named} <= typed
    assert len(lines) >= 500
