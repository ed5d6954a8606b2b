from __future__ import annotations

import sys
from pathlib import Path

import pytest
from unit.shards.user_class.test_modules import write

from shards.user_class.classes import class_of
from shards.user_class.loading import load, told
from shards.user_class.modules import UserClassError

TEXT = "class A:\n    def __init__(self, number):\n        self.share = 1 / number\n"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_class_is_imported_and_built(tmp_path: Path) -> None:
    write(tmp_path, lab_loaded=TEXT)
    found = class_of("lab_loaded.A", [str(tmp_path)])
    made = load(found)
    assert told(lambda: made(4), found).share == 0.25
    with pytest.raises(UserClassError) as error:
        told(lambda: made(0), found)
    assert str(error.value) == f"{tmp_path}/lab_loaded.py, line 3: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import einops_that_is_not_there\n" + TEXT, "line 1: ModuleNotFoundError: No module named 'einops"),
        (TEXT + "del A\n", "line 1: AttributeError"),
    ],
)
def test_a_module_that_can_not_be_imported(tmp_path: Path, text: str, message: str) -> None:
    name = f"lab_broken_{len(text)}"
    write(tmp_path, **{name: text})
    with pytest.raises(UserClassError, match=message):
        load(class_of(f"{name}.A", [str(tmp_path)]))


def test_another_module_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("first", "second"):
        write(tmp_path / folder, lab_twice=TEXT)
    monkeypatch.syspath_prepend(str(tmp_path / "first"))
    found = class_of("lab_twice.A", [str(tmp_path / "second")])
    with pytest.raises(
        UserClassError, match=r"first/lab_twice.py has the same name, and comes first; rename"
    ):
        load(found)
