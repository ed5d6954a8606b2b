from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from shards.user_class.modules import UserClassError, find, search_path

HARM = "raise SystemExit('was imported')\n"


def write(folder: Path, **files: str) -> None:
    """Modules by their dotted names, written with __ for dots."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_nothing_is_executed(tmp_path: Path) -> None:
    write(tmp_path, lab_a__init=HARM, lab_a__growth=HARM)
    (tmp_path / "lab_a" / "init.py").rename(tmp_path / "lab_a" / "__init__.py")
    found = find("lab_a.growth", [str(tmp_path)])
    assert found.source == HARM.encode()
    assert (found.path, found.root) == (str(tmp_path / "lab_a" / "growth.py"), str(tmp_path))
    assert "lab_a" not in sys.modules


def test_a_folder_without_init_is_a_package(tmp_path: Path) -> None:
    write(tmp_path, lab_b__deep__growth="a = 1")
    package = find("lab_b.deep", [str(tmp_path)])
    assert (package.is_package, package.source, package.root) == (True, b"", str(tmp_path))
    assert find("lab_b.deep.growth", [str(tmp_path)]).root == str(tmp_path)


def test_in_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("user/lab_c/__init__.py", "")
        archive.writestr("user/lab_c/growth.py", "a = 1")
    found = find("lab_c.growth", [str(tmp_path / "code.zip" / "user")])
    assert (found.source, found.root) == (b"a = 1", str(tmp_path / "code.zip" / "user"))


@pytest.mark.parametrize("name", ["lab_none", "lab_none.growth", "json.none", "", "a-b", "json.decoder.x"])
def test_not_there(tmp_path: Path, name: str) -> None:
    assert find(name, [str(tmp_path), *sys.path]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("def a(:\n", "line 1: "), ("a = '\n", "line 1: "), ("a = 1\0\n", "growth_d.py")],
)
def test_an_error_of_syntax_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, growth_d=text)
    with pytest.raises(UserClassError, match=message) as told:
        _ = find("growth_d", [str(tmp_path)]).tree
    assert len(str(told.value).splitlines()) == 1


def test_imports_are_absolute(tmp_path: Path) -> None:
    write(
        tmp_path, lab_e__deep__growth="import os.path\nfrom . import a\nfrom ..b import c\nfrom x import *\n"
    )
    found = find("lab_e.deep.growth", [str(tmp_path)])
    assert list(found.imports()) == [("os.path", ""), ("lab_e.deep", "a"), ("lab_e.b", "c"), ("x", "*")]


def test_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert search_path()[0] == str(tmp_path)
    assert search_path().count(str(tmp_path)) == 1
