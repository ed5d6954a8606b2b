"""What the study wrote on another machine, read and counted here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from bench.study import study as module
from bench.study.elsewhere import Outcome, known
from bench.study.study import options, study
from dnw.config import ConfigError

RUN = {
    "network": "static",
    "wiring": "dnw",
    "rate": 0.1,
    "seed": 0,
    "steps": 2,
    "run": "exp/lr=0.1-a",
    "images": "16px",
}
ENDED = RUN | {"ended": True, "held_out": 80.5, "test": None, "curve": [[1.0, 80.5]]}


def written(folder: Path, *runs: dict[str, Any]) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(runs))
    return path


def test_what_has_ended_is_known(tmp_path: Path) -> None:
    left = RUN | {"run": "exp/default-b", "ended": False, "held_out": None, "test": None, "curve": []}
    diverged = left | {"run": "exp/default-c", "ended": True}
    first = written(tmp_path, ENDED, left, diverged)
    second = written(tmp_path, ENDED | {"test": 79})
    assert known([first, second]) == {
        ("16px", "a"): Outcome(80.5, 79.0, ((1.0, 80.5),)),
        ("16px", "c"): Outcome(None, None, ()),
    }


@pytest.mark.parametrize("text", ["", "{}}", "3", "[3]", '[{"run": "a"}]', '{"a": 1}', "\x00", "[null]"])
def test_what_is_no_study_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ConfigError, match=r"study.json: not the .json of a study; --report writes it"):
        known([tmp_path / "study.json"])


@pytest.mark.parametrize(("name", "why"), [("none.json", "No such file"), (".", "Is a directory")])
def test_a_file_that_can_not_be_read_is_told(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--with .*: {why}"):
        known([tmp_path / name])


def chosen(images: Path, folder: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    options(parser)
    typed = ("--only", "random,dnw", "--networks", "static", "--rates", "0.1", "--steps", "2", *words)
    found = parser.parse_intermixed_args(typed)
    found.images, found.words, found.seeds = images, [f"runs_dir={folder / 'runs'}"], 2
    found.out = folder / "study"
    return found


def ended_elsewhere(images: Path, folder: Path, count: int, **values: Any) -> Path:
    """The study's file from a machine where some of its four runs have ended."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    study(chosen(images, elsewhere, "--report"))
    runs = json.loads((elsewhere / "study.json").read_text())
    path = elsewhere / "there.json"
    path.write_text(json.dumps([one | values for one in runs[:count]]))
    return path


THERE = {"ended": True, "held_out": 80.0, "test": 70.0, "curve": [[1.0, 75.0], [2.0, 80.0]]}


def test_they_stand_in_the_report(
    few_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ended_elsewhere(few_images, tmp_path, 4, **THERE)
    capsys.readouterr()
    assert study(chosen(few_images, tmp_path, "--with", str(there))) == 0
    assert "| random | 0.1 | 80.00 ± 0.00 | 70.00 ± 0.00 |  | 2 |" in capsys.readouterr().out
    assert [one | THERE for one in json.loads(there.read_text())] == json.loads(
        (tmp_path / "study.json").read_text()
    )
    assert not (tmp_path / "runs").exists()


def test_the_others_are_trained(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ended_elsewhere(few_images, tmp_path, 1, **THERE)
    lines: list[list[str]] = []
    monkeypatch.setattr(module, "train", lambda sweep, *_: lines.append(list(sweep.words)))
    assert study(chosen(few_images, tmp_path, "--with", str(there))) == 1  # as nothing was trained
    varied = [[word for word in words if word.startswith(("seed=", "wiring="))] for words in lines]
    assert varied == [["seed=0", "wiring=dnw"], ["seed=1", "wiring=random,dnw"]]
    assert "1 of 4 runs have ended" in capsys.readouterr().err


def test_what_was_not_tested_there_is_told(few_images: Path, tmp_path: Path) -> None:
    there = ended_elsewhere(few_images, tmp_path, 1, **THERE | {"test": None})
    with pytest.raises(
        ConfigError, match=r"static random, rate 0.1, seed 0: trained elsewhere, but not tested"
    ):
        study(chosen(few_images, tmp_path, "--report", "--with", str(there)))
