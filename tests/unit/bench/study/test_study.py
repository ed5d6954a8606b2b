from __future__ import annotations

import argparse
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


def test_a_report_trains_nothing(
    few_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--report",
        "--only",
        "random,dnw",
        "--networks",
        "static",
        "--rates",
        "0.1,0.01",
        "--steps",
        "2",
    ]
    chosen = parsed(*words, f"--images={few_images}", f"runs_dir={tmp_path / 'runs'}")
    chosen.seeds, chosen.out = 2, tmp_path / "out" / "study"
    assert study(chosen) == 1
    told = capsys.readouterr()
    assert "0 of 4 runs have ended; type the same again when more have" in told.err
    assert told.out == (tmp_path / "out" / "study.md").read_text()
    assert not (tmp_path / "runs").exists()


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
