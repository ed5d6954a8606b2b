from typing import Any

import pytest
from unit.launch.study.conftest import Study

from dnw.config import ConfigError
from launch.errors import LaunchError
from launch.study import settings


def test_a_name_is_that_of_what_may_not_change(study: Study) -> None:
    def name(*words: str) -> str:
        return settings.read(study(*words)).name

    first = name("hydra.sweeper.n_trials=3")
    assert first.startswith("static_dnw-study-")
    assert name("nodes=2", "cluster.partition=low", "cluster.array_parallelism=9") == first
    for word in ("seed=1", "width=interval(0.1,0.2)", "hydra.sweeper.seed=1", "hydra.sweeper.sampler=random"):
        assert name(word) != first
    assert name("hydra.sweeper.study_name=mine") == "mine"


def test_what_is_looked_for(study: Study) -> None:
    of = settings.read(study())
    assert (of.typed.objectives, of.directions) == (("top1", "macs"), ("maximize", "minimize"))
    assert (of.quality, of.cost, of.at_once) == ("top1", "macs", settings.AT_ONCE)
    of = settings.read(study("hydra.sweeper.objectives=loss", "hydra.sweeper.direction=minimize"))
    assert (of.typed.objectives, of.directions, of.quality, of.cost) == (
        ("loss",),
        ("minimize",),
        "loss",
        None,
    )
    assert settings.read(study("cluster=local")).at_once == 1
    assert settings.read(study("hydra.launcher.array_parallelism=7")).at_once == 7
    assert all("array_parallelism" not in word for word in of.words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.sweeper.n_trials=0"], r"hydra\.sweeper\.n_trials: must be greater than 0 \(got 0\)"),
        (["hydra.sweeper.direction=up"], r"hydra\.sweeper\.direction: must be 'maximize' or 'minimize'"),
        (["hydra.sweeper.direction=maximize"], "1 for 2 objectives"),
        (["hydra.sweeper.objectives=[top1,top1]"], "name each once"),
        (["hydra.sweeper.objectives=[top2]"], r"hydra\.sweeper\.objectives"),
        (["hydra.sweeper.study_name=a/b"], "must be the name of a folder"),
        (["fresh=true"], r"another one: hydra\.sweeper\.study_name=NAME"),
        (["resume_diverged=true"], "not in a study"),
        (["after=demo_dnw"], "after: not in a study.*wait=true"),
        (["hydra.sweeper.sampler=nsgaii"], r"hydra\.sweeper\.sampler: must be 'tpe' or 'random'"),
    ],
)
def test_what_is_refused(study: Study, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings.read(study(*words))


def test_without_optuna(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        assert name == "optuna"

    composed = study()
    monkeypatch.setattr(settings, "find_spec", none)
    with pytest.raises(LaunchError, match="pip install 'optuna>=5,<6'"):
        settings.read(composed)


def test_differing() -> None:
    there: dict[str, Any] = {"seed": 0, "space": {"width": {"low": 0.1}}}
    assert settings.differing(there, {"seed": 0, "space": {"width": {"low": 0.2}}}) == [
        "space.width.low was 0.1, is 0.2"
    ]
