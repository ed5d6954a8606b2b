"""A sweep is what its lines are, typed one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from dnw.config import ConfigError
from launch.compose import compose


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Words of the runs that Hydra has composed for a sweep."""
    found: list[list[str]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def load_sweep_config(self: Any, master: Any, words: list[str]) -> Any:
        found.append(words)
        return load(self, master, words)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", load_sweep_config)
    return found


@pytest.mark.parametrize(
    ("fixed", "swept", "times"),
    [
        (["+exp=demo_dnw"], [["width=0.1"], ["width=0.2"], ["width=0.3"]], 1),
        (["+exp=demo_dnw", "optim=small", "optim.lr=0.3"], [["width=0.1"], ["width=0.2"]], 1),
        (["+exp=demo_dnw", "cluster.additional_parameters={begin:now}"], [["width=0.1"], ["width=0.2"]], 1),
        (["+exp=demo_dnw", "++environment.A=1"], [["data.dir=a"], ["data.dir=b"]], 1),
        (["+exp=demo_dnw", "++environment.A=1"], [["environment.A=2"], ["environment.A=3"]], 2),
        (["+exp=demo_dnw", "optim={lr:0.3}"], [["optim.lr=0.1"], ["optim.lr=0.2"]], 2),
        (["+exp=demo_dnw", "steps=5"], [["wiring=dnw"], ["wiring=random"]], 2),
        (["seed=1"], [["+exp=demo_dnw"], ["+exp=demo_random"]], 2),
        (["+exp=demo_dnw"], [["width=null"], ["width=0.2"]], 1),
        (["+exp=demo_dnw"], [["runs_dir='a=b'"], ["runs_dir='c d'"]], 1),
        (["+exp=demo_dnw"], [["data.mean=[0.1,0.2,0.3]"], ["data.mean=[0.4,0.5,0.6]"]], 2),
        (["+exp=demo_dnw"], [["optim={lr:0.1}"], ["optim={lr:0.2}"]], 2),
        (["+exp=demo_dnw"], [["++environment.A=1"], ["++environment.A=2"]], 2),
    ],
)
def test_a_sweep_is_what_its_lines_are(
    composed: list[list[str]], fixed: list[str], swept: list[list[str]], times: int
) -> None:
    key = swept[0][0].partition("=")[0]
    choices = ",".join(words[0].partition("=")[2] for words in swept)
    alone = [compose([*fixed, *words]) for words in swept]
    found = compose(["-m", *fixed, f"{key}={choices}"])
    assert [one.values for one in found] == [one.values for (one,) in alone]
    assert [sorted(one.overrides) for one in found] == [sorted(one.overrides) for (one,) in alone]
    assert len(composed) == times


def test_what_is_composed_later_does_not_change_what_was_before() -> None:
    found = compose(["-m", "+exp=demo_dnw", "width=0.1,0.2,0.1"])
    assert [one.values["width"] for one in found] == [0.1, 0.2, 0.1]


def test_a_sweep_with_a_wrong_word_ends_before_anything_begins() -> None:
    with pytest.raises(ConfigError, match=r"exp: no experiment 'demo_dwn'.* did you mean demo_dnw"):
        compose(["-m", "+exp=demo_dnw,demo_dwn"])
