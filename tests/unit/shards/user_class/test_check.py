from __future__ import annotations

import sys
from pathlib import Path

import pytest
from unit.shards.user_class.test_modules import write

from shards.user_class.check import Kind, check, constructor, offered
from shards.user_class.classes import class_of, lineage
from shards.user_class.modules import UserClassError

BASE = """
from dataclasses import dataclass
class Base:
    def __init__(self, shape, budget, *, legal=None): ...
    def choose(self, weight, step): ...
class Other: ...
class Plain(Base): ...
class Slow(Base):
    def __init__(self, shape, budget, *, every, key=0, **given): ...
class Open:
    def __init__(self, *args, **kwargs): ...
class Short(Base):
    def __init__(self, shape): ...
class Closed(Base):
    def __init__(self, shape, budget): ...
class Wrong(Base):
    def choose(self, weight): ...
class Unknown(make()): ...
@dataclass
class Data:
    shape: int
    budget: int
    every: int
    legal: int = 0
    def choose(self, weight, step): ...
"""
KIND = Kind(
    "wiring",
    base="lab_check.Base",
    written="lab_check.Base",
    other=("lab_check.Other", "network"),
    positional=("shape", "budget"),
    keywords=("legal",),
    offered=("key",),
    methods={"choose": ("weight", "step")},
)


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    write(tmp_path, lab_check=BASE)
    return [str(tmp_path), *sys.path]


@pytest.mark.parametrize(
    ("name", "options"), [("Plain", []), ("Slow", ["every"]), ("Unknown", []), ("Unknown", ["any"])]
)
def test_one_that_fits(roots: list[str], name: str, options: list[str]) -> None:
    assert check(f"lab_check.{name}", KIND, options, "o", roots).node.name == name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Slow", [], r"line 9: Slow needs every: wiring.options={every: VALUE}"),
        ("Slow", ["every", "evry"], r"line 9: Slow has no option 'evry'; did you mean every\?"),
        ("Slow", ["every", "legal"], r"Slow has no option 'legal'; it takes every"),
        ("Plain", ["x"], r"line 4: Plain has no option 'x'; it takes none"),
        ("Other", [], r"line 6: a network, no wiring"),
        ("Data", [], r"line 20: no wiring, as Data is derived from nothing; derive it from lab_check.Base"),
        (
            "Short",
            [],
            r"line 13: Short must be built with shape, budget: def __init__\(self, shape, budget, \*\*",
        ),
        ("Closed", [], r"line 15: Closed must take legal too: end its arguments with \*\*given"),
        ("Wrong", [], r"line 17: must be def choose\(self, weight, step\)"),
    ],
)
def test_one_that_does_not(roots: list[str], name: str, options: list[str], message: str) -> None:
    with pytest.raises(UserClassError, match=message):
        check(f"lab_check.{name}", KIND, options, "wiring.options", roots)


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("dnw.wiring.DnwEdges", "dnw is this project's own package"),
        ("json.decoder.JSONDecoder", "json is a module of Python's own; give your file another name"),
    ],
)
def test_names_that_are_taken(roots: list[str], dotted: str, message: str) -> None:
    with pytest.raises(UserClassError, match=message):
        check(dotted, KIND, [], "", roots)


def test_what_a_class_is_built_with(roots: list[str]) -> None:
    built = {
        name: constructor(list(lineage(class_of(f"lab_check.{name}", roots), roots)))
        for name in ("Slow", "Data", "Open", "Unknown", "Other")
    }
    assert built["Slow"].names == {"shape", "budget", "every", "key", "legal"}
    assert built["Slow"].required == {"shape", "budget", "every"}
    assert built["Data"].required == {"shape", "budget", "every"}
    assert (built["Open"].is_open, built["Open"].is_variadic, built["Slow"].is_open) == (True, True, False)
    assert built["Unknown"].is_open
    assert built["Other"].positional == ()
    assert offered(built["Slow"], {"key": 1, "size": 2}) == {"key": 1}
