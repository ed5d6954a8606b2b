from __future__ import annotations

import re

import example
import pytest

from dnw.config import ConfigError, plain
from dnw.identity import identity, signature
from shards.user_class.names import is_user_class, written


@pytest.mark.parametrize("name", ["my_lab.growth.Slow", "growth.Slow"])
def test_a_dotted_path_names_a_class(name: str) -> None:
    assert is_user_class(name)
    assert written(name) == ""
    assert example.train(wiring={"name": name}).wiring.name == name


@pytest.mark.parametrize("name", ["dnw", "torchvision/resnet18", "timm/a.b", "a..b", ".growth.Slow", "a.b-c"])
def test_these_do_not(name: str) -> None:
    assert not is_user_class(name)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("growth.py", "the dotted path of a class: growth.CLASS (got 'growth.py')"),
        ("my_lab/growth.py", "the dotted path of a class: my_lab.growth.CLASS (got 'my_lab/growth.py')"),
        ("./growth.py", "the dotted path of a class: growth.CLASS (got './growth.py')"),
        (".growth.Slow", "the whole path of a class, from its outermost package on: PACKAGE.growth.Slow"),
    ],
)
@pytest.mark.parametrize("group", ["wiring", "model"])
def test_what_to_write_in_its_place(group: str, name: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{group}.name: must be {instead}")):
        example.train(**{group: {"name": name}})


def test_options_are_for_classes_of_the_users_own() -> None:
    with pytest.raises(ConfigError, match=r"wiring.options: only for a class of your own, wiring=PACKAGE"):
        example.train(wiring={"name": "dnw", "options": {"every": 2}})


def test_a_run_without_them_is_the_run_that_it_was() -> None:
    values = identity(plain(example.train()))
    assert "user_fingerprint" not in values
    assert "options" not in values["wiring"]
    own = {"name": "growth.Slow", "options": {"every": 2}}
    first = example.train(wiring=own)
    assert identity(plain(first))["wiring"]["options"] == {"every": 2}
    others = [
        example.train(wiring={**own, "options": {"every": 3}}),
        example.train(wiring=own, user_fingerprint="a"),
    ]
    assert len({signature(one) for one in (first, *others)}) == 3
