from __future__ import annotations

import sys
from pathlib import Path

import pytest
from unit.shards.user_class.test_modules import write

from shards.user_class.files import files_of, fingerprint
from shards.user_class.modules import UserClassError, find


def kept(folder: Path, name: str) -> dict[str, bytes]:
    roots = [str(folder), *sys.path]
    return files_of(find(name, roots), roots)


def test_what_a_module_imports_of_its_folder_comes_along(tmp_path: Path) -> None:
    write(
        tmp_path,
        growth="import beside\nfrom lab.deep import part\nimport json, torch, dnw.config\n",
        beside="def a():\n    import later\n",
        later="",
        other="",
        lab__deep__part="from . import more\nfrom ..top import x\n",
        lab__deep__more="",
        lab__deep__unused="",
        lab__top="x = 1",
    )
    names = {"growth.py", "beside.py", "later.py", "lab/__init__.py", "lab/deep/__init__.py", "lab/top.py"}
    assert kept(tmp_path, "growth").keys() == names | {"lab/deep/part.py", "lab/deep/more.py"}
    assert kept(tmp_path, "growth")["lab/top.py"] == b"x = 1"


def test_an_installed_package_brings_its_own_modules_alone(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    write(packages, lab_i__growth="import neighbour\nfrom lab_i import more\n", lab_i__more="", neighbour="")
    assert kept(packages, "lab_i.growth").keys() == {"lab_i/__init__.py", "lab_i/growth.py", "lab_i/more.py"}


def test_a_compiled_module_of_the_package_is_refused(tmp_path: Path) -> None:
    write(tmp_path, lab_j__growth="from lab_j import fast\n")
    (tmp_path / "lab_j" / "fast.so").write_bytes(b"")
    with pytest.raises(
        UserClassError, match=r"fast.so: compiled, and can't be kept with a run; install lab_j"
    ):
        kept(tmp_path, "lab_j.growth")


def test_the_fingerprint_is_that_of_names_and_contents() -> None:
    one = fingerprint({"a.py": b"1", "b.py": b"2"})
    assert len(one) == 64
    assert one == fingerprint({"b.py": b"2", "a.py": b"1"})
    assert len({one, fingerprint({"a.py": b"2", "b.py": b"1"}), fingerprint({"a.py": b"1"})}) == 3
    assert fingerprint({}) == ""
