"""Settings that the optimizer or the schedule has no use for are refused by name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from example import train

from dnw import models
from dnw.compose import training
from dnw.config import ConfigError, check_typed, parse, plain
from dnw.identity import signature
from dnw.schedule import learning_rate
from dnw.training.optimizer import build_optimizer

ADAMW = {"optim__name": "adamw", "optim__momentum": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim__name": "adamw"}, "optim.momentum: a setting of sgd's; leave it out, or name it as"),
        ({"optim__momentum": None}, "optim.momentum: must be set for sgd"),
        ({**ADAMW, "optim__lr": None}, "optim.lr: must be set for adamw, as the recipe's is for sgd"),
        ({"optim__schedule": "linear", "optim__milestones": [3]}, "optim.milestones: optim.schedule=linear"),
        ({"optim__rise": 0.5}, "optim.rise: optim.schedule=cosine has none, onecycle have; leave it"),
        ({"optim__schedule": "constant", "optim__end_lr": 0.01}, "optim.end_lr: optim.schedule=constant has"),
        ({"optim__schedule": "step"}, "optim.step_epochs: must be set"),
        ({"optim__end_lr": 1.0}, "optim.end_lr: must be at most optim.lr=0.1 (got 1)"),
        ({**ADAMW, "optim__options": {"eps": float("inf")}}, "optim.options: must be finite (got inf)"),
        ({**ADAMW, "optim__options": {"betas": [0.9, float("nan")]}}, "optim.options: must be finite (got "),
    ],
)  # fmt: skip
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        train(**changes)
    assert str(refused.value).startswith(message)


def test_a_recipe_for_sgd_takes_another_optimizer_by_its_name_and_rate() -> None:
    optim = training(["+exp=static_dnw", "optim.name=adamw", "optim.lr=1e-3", "optim.schedule=linear"]).optim
    assert (optim.lr, optim.momentum, optim.weight_decay, optim.milestones) == (1e-3, None, None, ())
    optim = training(["+exp=static_dnw"]).optim
    assert (optim.lr, optim.momentum, optim.weight_decay, optim.milestones) == (0.1, 0.9, 1e-4, (80, 120))
    with pytest.raises(ConfigError, match=r"optim.lr: must be set for timm/lamb, as the recipe's is for sgd"):
        training(["+exp=imagenet_dnw", "optim.name=timm/lamb"])


@pytest.mark.parametrize(
    "word",
    [
        "optim.options.betas=[0.9,0.95]",
        "optim.options={betas: [0.9, 0.95]}",
        "+optim.options.betas=[0.9,0.95]",
    ],
)
def test_options_are_typed_one_by_one_or_together(word: str) -> None:
    optim = training(["+exp=static_dnw", "optim.name=adamw", "optim.lr=1e-3", word]).optim
    assert optim.options == {"betas": (0.9, 0.95)}


def test_what_was_typed_for_another_schedule_is_refused() -> None:
    optim = train(optim__milestones=[3]).optim  # of a recipe; under cosine it has always been left alone
    check_typed(optim, ["optim.lr=0.1"])
    with pytest.raises(
        ConfigError, match=r"optim.milestones: optim.schedule=cosine has none, multistep have"
    ):
        check_typed(optim, ["optim.milestones=[3]"])


def test_configurations_from_before_the_settings_load_and_keep_their_signature() -> None:
    later = {"name", "options", "step_epochs", "rise", "end_lr", "no_decay", "clip_norm", "ema"}
    values = plain(train())
    values["optim"] = {key: value for key, value in values["optim"].items() if key not in later}
    assert signature(parse(values)) == signature(train()) == "3f6fa8f9e0"


def shown() -> list[list[str]]:
    """The words after each `python launch/local.py` in docs/training.md."""
    page = Path(__file__).parents[4] / "docs" / "training.md"
    lines = re.findall(r"^    python launch/local.py (.*)$", page.read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("words", shown(), ids=" ".join)
def test_line_of_the_documentation_can_be_trained(words: list[str]) -> None:
    config = training(words)
    check_typed(config.optim, words)
    build_optimizer(models.build(config), config)
    rates = [learning_rate(config.optim, step, 200, 60_000 / config.batch) for step in range(200)]
    assert all(0 <= rate <= 1.1 * config.optim.lr for rate in rates)  # a warm-up may end within a step
