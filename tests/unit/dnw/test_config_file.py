"""Files of configs/ as editors leave them, and as people save them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dnw import config_file
from dnw.compose import CONFIGS
from dnw.config import ConfigError
from dnw.words import fit

GOOD = (CONFIGS / "exp" / "demo_dnw.yaml").read_bytes().replace(b"exp: demo_dnw", b"exp: mine")
DAMAGED = {
    "mark": (b"\xef\xbb\xbf" + GOOD, "begins with a byte order mark, which hides its first line; save it"),
    "latin1": (
        GOOD + b"# gr\xf6\xdfe\n",
        "no UTF-8 (invalid start byte at byte 563); save it as UTF-8",
    ),
    "utf16": (GOOD.decode().encode("utf16"), "no UTF-8 (invalid start byte at byte 0); save it as UTF-8"),
    "tab": (
        GOOD + b"\noptim:\n\tlr: 1\n",
        "line 24: no YAML: found character '\\t' that cannot start any token",
    ),
    "twice": (GOOD + b"\nsteps: 1\n", "line 23: no YAML: found duplicate key steps"),
    "open": (GOOD + b"\nx: [1,\n", "line 24: no YAML: expected the node content, but found '<stream end>'"),
    "alias": (GOOD + b"\nx: *y\n", "line 23: no YAML: found undefined alias 'y'"),
    "tag": (GOOD + b"\nx: !!python/name:os.system\n", "line 23: no YAML: could not determine a constructor"),
    "nul": (GOOD + b"\0", "no YAML: unacceptable character #x0000: special characters are not allowed"),
    "empty": (b"", "must have settings, NAME: VALUE, a line each"),
    "list": (b"# @package _global_\n- a\n", "must have settings, NAME: VALUE, a line each"),
    "package": (GOOD.replace(b"@package", b"package"), "must begin with the line '# @package _global_'"),
    "name": (GOOD.replace(b"exp: mine", b"exp: demo_dnw"), "must have the line 'exp: mine' (got 'demo_dnw')"),
    "unnamed": (GOOD.replace(b"exp: mine", b""), "must have the line 'exp: mine' (got 'None')"),
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return shutil.copytree(CONFIGS, tmp_path / "configs")


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("word", ["+exp=mine", "+exp=demo_dnw,mine"])
def test_a_damaged_experiment_is_told_by_its_file(configs: Path, damage: str, word: str) -> None:
    content, told = DAMAGED[damage]
    path = configs / "exp" / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        fit([word], configs, ["exp"], is_sweep=True)
    assert str(refused.value).startswith(str(path))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [GOOD, GOOD.replace(b"\n", b"\r\n"), b"\n# words\n" + GOOD], ids=range(3))
def test_ends_of_lines_and_other_comments_change_nothing(configs: Path, content: bytes) -> None:
    (configs / "exp" / "mine.yaml").write_bytes(content)
    assert fit(["+exp=mine"], configs, ["exp"]) == ["+exp=mine"]


def test_what_editors_leave_is_no_experiment(configs: Path) -> None:
    known = config_file.options(configs / "exp")
    for name in (
        "mine.yaml~",
        ".mine.yaml.swp",
        "#mine.yaml#",
        "mine.yaml.orig",
        ".mine.yaml",
        ".#mine.yaml",
    ):
        (configs / "exp" / name).write_bytes(b"\xff")
    (configs / "exp" / ".#demo_dnw.yaml").symlink_to("someone@host.123")
    assert config_file.options(configs / "exp") == known


def test_no_file_is_waited_for(configs: Path) -> None:
    path = configs / "exp" / "mine.yaml"
    os.mkfifo(path)
    assert config_file.first_comment(path) == "(can't be read)"
    with pytest.raises(OSError, match="is a FIFO, must be a file"):
        config_file.check(path)


def test_what_a_file_says_of_itself() -> None:
    assert config_file.first_comment(CONFIGS / "exp" / "demo_dnw.yaml").startswith("Demo: tiny static")
    assert config_file.first_comment(CONFIGS / "hydra" / "launcher" / "prepared.yaml")
    for path in CONFIGS.rglob("*.yaml"):
        config_file.check(path)
