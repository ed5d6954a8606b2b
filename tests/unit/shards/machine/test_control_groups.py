"""Folders of control groups, of either version, in and out of containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards.machine.control_groups import folders, text


@pytest.mark.parametrize(
    ("process", "controller", "found"),
    [
        ("0::/a/b\n", "cpu", ["a/b", "a", "."]),
        ("0::/\n", "cpu", ["."]),
        ("0::/../a\n", "memory", ["a", "."]),
        ("5:memory:/m\n4:cpu,cpuacct:/a/b\n0::/c\n", "cpu", ["cpu/a/b", "cpu/a", "cpu", "."]),
        ("5:memory:/m\n4:cpu,cpuacct:/a/b\n0::/c\n", "memory", ["memory/m", "memory", "."]),
        ("", "cpu", []),
        ("nonsense\n", "cpu", []),
    ],
)
def test_the_own_folder_then_those_above_it(
    process: str, controller: str, found: list[str], tmp_path: Path
) -> None:
    (tmp_path / "process").write_text(process)
    assert [
        str(one.relative_to(tmp_path)) for one in folders(controller, tmp_path / "process", tmp_path)
    ] == found


def test_a_file_of_the_other_version_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert text(tmp_path / "cpu.max") == "max 100000\n"
    assert text(tmp_path / "cpu.cfs_quota_us") == ""
    assert text(tmp_path / "cpu.max" / "below") == ""
