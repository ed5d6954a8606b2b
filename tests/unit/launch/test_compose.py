"""From words to values; which settings there are, and what they may be: tests of dnw.config."""

import re
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from dnw import __version__
from dnw.compose import CONFIGS
from dnw.config import ConfigError
from launch.compose import choices, compose, experiments


@pytest.fixture(autouse=True)
def no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra keeps one composition; the words of another test's must be gone."""
    monkeypatch.setattr(sys, "argv", ["slurm.py"])
    GlobalHydra.instance().clear()


def test_one_line_is_one_configuration() -> None:
    (found,) = compose(["+exp=demo_dnw", "width=0.1", "nodes=2"])
    assert (found.values["exp"], found.values["width"], found.values["nodes"]) == ("demo_dnw", 0.1, 2)
    assert found.overrides == ("+exp=demo_dnw", "width=0.1", "nodes=2")
    assert not found.in_foreground


def test_a_sweep_is_known_as_a_whole() -> None:
    found = compose(["+exp=demo_dnw", "width=0.1,0.2", "-m", "seed=1,2"])
    assert [(one.values["width"], one.values["seed"]) for one in found] == [
        (0.1, 1),
        (0.1, 2),
        (0.2, 1),
        (0.2, 2),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--exp=demo_dnw"], "--exp=demo_dnw: write it as +exp=demo_dnw"),
        (["--width=0.1"], "--width=0.1: a setting, which has no dashes: width=0.1"),
        (["--multirn"], "--multirn: no such option; did you mean --multirun?"),
        (["--experimental-rerun=x"], "--experimental-rerun: not taken, it executes what the file holds"),
        (["exp=demo_dnw"], "exp: write it as +exp=NAME"),
        (["+exp=demo_dwn"], "exp: no experiment 'demo_dwn'; did you mean demo_dnw?"),
        ([], "exp: name an experiment with +exp=NAME, one of"),
        (["+exp=demo_dnw", "model=statik"], "model: no option 'statik'; did you mean static?; there are:"),
    ],
)
def test_words_that_name_nothing(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        compose(words)


@pytest.mark.parametrize(("line", "said"), [("exp: demo_dnw", "demo_dnw"), ("", "nothing")])
def test_an_experiment_that_bears_another_name(tmp_path: Path, line: str, said: str) -> None:
    """As a copied file does."""
    shown = (CONFIGS / "exp" / "demo_dnw.yaml").read_text()
    assert "\nexp: demo_dnw\n" in shown
    path = tmp_path / "exp" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(shown.replace("exp: demo_dnw", "exp: mine"))
    words = [f"--config-dir={tmp_path}", "+exp=mine"]
    (composed,) = compose(words)
    assert composed.values["exp"] == "mine"
    path.write_text(shown.replace("\nexp: demo_dnw\n", f"\n{line}\n"))
    with pytest.raises(ConfigError) as error:
        compose(words)
    assert str(error.value) == f"exp: the file of +exp=mine says {said}; write there exp: mine"


def test_lists_are_those_of_the_files() -> None:
    assert (
        list(experiments())
        == choices("exp")
        == sorted(path.stem for path in (CONFIGS / "exp").glob("*.yaml"))
    )
    assert all(line and not line.startswith("#") for line in experiments().values())


def test_of_a_setting_that_is_typed_twice_the_last_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """As where a script ends in "$@"; and the run is named by that one alone."""
    (found,) = compose(["+exp=static_dnw", "seed=1", "optim=large", "seed=2", "optim=small"])
    assert found.values["seed"] == 2
    assert found.overrides == ("+exp=static_dnw", "seed=2", "optim=small")
    told = "note seed: typed 2 times, seed=2 holds\nnote optim: typed 2 times, optim=small holds\n"
    assert capsys.readouterr().err == told


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--version"], ["+exp=demo_dnw", "--version"]):
        with pytest.raises(SystemExit) as ended:
            compose(words)
        assert (ended.value.code, capsys.readouterr().out) == (0, f"dnw {__version__}\n")
