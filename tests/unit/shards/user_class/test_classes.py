from __future__ import annotations

import sys
from pathlib import Path

import pytest
from unit.shards.user_class.test_modules import write

from shards.user_class.classes import class_of, lineage
from shards.user_class.modules import UserClassError


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    write(
        tmp_path,
        lab__growth="class Slow:\n    pass\n\nif True:\n    class Slower(Slow):\n        pass\n",
        lab__again="from .growth import Slower as Slowest\nimport lab.growth as g\nclass Own(g.Slow): pass\n",
        lab__every="from lab.again import *\n",
        lab__empty="a = 1\n",
        alone="from unknown import Base\nclass A(Base): pass\nclass B(object): pass\nclass C(A, B): pass\n",
    )
    return [str(tmp_path), *sys.path]


@pytest.mark.parametrize(
    ("dotted", "name", "line"),
    [
        ("lab.growth.Slow", "lab.growth.Slow", 1),
        ("lab.growth.Slower", "lab.growth.Slower", 5),
        ("lab.again.Slowest", "lab.growth.Slower", 5),
        ("lab.every.Own", "lab.again.Own", 3),
    ],
)
def test_a_class_is_found_where_it_is_defined(roots: list[str], dotted: str, name: str, line: int) -> None:
    found = class_of(dotted, roots)
    assert found.name == name
    assert found.where.endswith(f"{name.split('.')[1]}.py, line {line}")


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("lab.growth.Slwo", r"growth.py: no class 'Slwo' in it; did you mean Slow\?"),
        ("lab.growth.Xyzzy", r"no class 'Xyzzy' in it; there are: Slow, Slower"),
        ("lab.grwth.Slow", r"lab: no module 'grwth' in it; did you mean growth\?"),
        ("lba.growth.Slow", r"no module 'lba'.*; the folder with lba.py"),
        ("lab.growth", "growth.py: a module; name the class in it: lab.growth.Slow, lab.growth.Slower"),
        ("lab.empty", "empty.py: a module without a class; name one, lab.empty.CLASS"),
        ("lab.growth.Slow.inner", "growth.py: no module 'Slow' in it"),
    ],
)
def test_a_wrong_name_gives_the_nearest_right_one(roots: list[str], dotted: str, message: str) -> None:
    with pytest.raises(UserClassError, match=message):
        class_of(dotted, roots)


def test_lineage(roots: list[str]) -> None:
    def names(dotted: str) -> list[str]:
        return [one.name if one else "?" for one in lineage(class_of(dotted, roots), roots)]

    assert names("lab.every.Own") == ["lab.again.Own", "lab.growth.Slow"]
    assert names("alone.C") == ["alone.C", "alone.A", "?", "alone.B"]


def test_bases_of_installed_packages_are_found_without_importing_them(tmp_path: Path) -> None:
    text = (
        "import torch\nfrom torch import nn\nfrom dnw.wiring import StrongestEdges\n"
        "class Net(nn.Module): pass\nclass Other(torch.nn.Sequential): pass\nclass W(StrongestEdges): pass\n"
    )
    write(tmp_path, mine=text)
    roots = [str(tmp_path), *sys.path]
    for name in ("Net", "Other", "W"):
        names = [one.name for one in lineage(class_of(f"mine.{name}", roots), roots) if one]
        assert "torch.nn.modules.module.Module" in names
    assert "dnw.wiring.edges.Edges" in names
