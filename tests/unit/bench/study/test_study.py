from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from bench.study.study import options, study
from dnw.config import ConfigError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    options(parser)
    return parser.parse_intermixed_args([*words])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optim.lr=0.1", "optim.lr: the study sets it: use --rates"),
        ("seed=1", "seed: the study sets it: use --seeds"),
        ("batch=8", "batch: the study sets it, the same for all"),
        ("demo_dnw", "demo_dnw: no setting; contestants of the study are named by --only"),
    ],
)
def test_words_that_the_study_sets_are_refused(word: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        study(parsed(word))
    assert str(told.value) == message


def reported(images: Path, folder: Path, *words: str) -> int:
    """What a report of runs that there aren't ends with."""
    chosen = parsed("--report", "--only", "random,dnw", "--networks", "static", *words)
    chosen.images, chosen.words = images, [f"runs_dir={folder / 'runs'}"]
    chosen.seeds, chosen.out = 2, folder / "out" / "study"
    return study(chosen)


def test_a_report_trains_nothing(
    few_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reported(few_images, tmp_path, "--rates", "0.1,0.01", "--steps", "2") == 1
    told = capsys.readouterr()
    # each wiring at two rates, then two seeds of it at the best one
    assert "0 of 8 runs have ended; type the same again when more have" in told.err
    assert told.out == (tmp_path / "out" / "study.md").read_text()
    assert not (tmp_path / "runs").exists()


def test_where_all_rates_are_trained_at_length_none_is_chosen_before(
    few_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--rates", "0.1,0.01", "--steps", "2", "--finalists", "2")
    assert reported(few_images, tmp_path, *words) == 1
    assert "0 of 8 runs have ended" in capsys.readouterr().err
    assert [one["steps"] for one in json.loads((tmp_path / "out" / "study.json").read_text())] == [2] * 8


def test_the_runs_that_choose_have_a_tenth_of_the_length(
    few_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, length in (((), 2), (("--tuning", "5"), 5), (("--steps", "40"), 4)):
        chosen = parsed("--list", "--only", "dnw", "--networks", "static", *words)
        chosen.images, chosen.seeds, chosen.out = few_images, 2, tmp_path / "out" / "study"
        assert study(chosen) == 0
        unit = "steps" if "--steps" in words else "epochs"
        assert f" {unit}={length} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "randon"), "no 'randon'; did you mean random?; there are: random,"),
        (("--rates", "0.1,0"), "a rate must be greater than 0"),
        (("--networks", "resnet"), "there are: mobilenet, static"),
    ],
)
def test_names_and_rates_are_checked(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(*words)
    assert message in capsys.readouterr().err
