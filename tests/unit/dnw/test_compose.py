"""From words to a checked configuration."""

from __future__ import annotations

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from dnw.compose import CONFIGS, KEYS, resolved, training
from dnw.config import ConfigError


@pytest.fixture(autouse=True)
def no_hydra() -> None:
    """Hydra keeps one composition; the words of another test's must be gone."""
    GlobalHydra.instance().clear()


def test_words_override_the_experiment() -> None:
    train = training(["+exp=static_dnw", "width=0.1", "optim.lr=0.5"])
    assert (train.exp, train.model.name, train.wiring.name) == ("static_dnw", "static", "dnw")
    assert (train.width, train.optim.lr) == (0.1, 0.5)
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+exp=static_dnw", "width=2"], "width: must be less than or equal to 1"),
        (["+exp=static_dnw", "widht=0.1"], "widht: no such setting; did you mean width?"),
        (["+exp=static_dnw", "+widht=0.1"], "widht: no such setting; did you mean width?"),
        (["+exp=static_dnw", "wiring=dwn"], "wiring: no option 'dwn'; did you mean dnw?"),
    ],
)
def test_one_line_says_what_is_wrong(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        training(words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_does_not_change_a_network_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    training(["+exp=static_dnw", "nodes=2", "optim.lr=0.5", "width=0.1"])
    assert capsys.readouterr().err == "note nodes=2: no effect on the network\n"


def test_a_quirk_is_the_first_of_two_values_where_it_is_reproduced() -> None:
    for quirks, value in ((True, 0.51), (False, 0.49)):
        config = OmegaConf.create({"wiring": {"reference_quirks": quirks}, "value": "${quirk:0.51,0.49}"})
        assert resolved(config)["value"] == value


def test_configs_are_beside_the_package() -> None:
    assert (CONFIGS / "config.yaml").is_file()
    assert "optim.lr" in KEYS
