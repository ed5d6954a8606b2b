"""The test of a module is where its name says: launch/node/job.py has tests/unit/launch/node/test_job.py."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINES = 40  # a longer module has tests of its own
MEMBERS = 25  # of a folder, at most


def place(module: Path) -> Path:
    """Where the tests of a module are."""
    name = {"__init__": module.parent.name, "__main__": "main"}.get(module.stem, module.stem)
    return ROOT / "tests" / "unit" / module.parent.relative_to(ROOT) / f"test_{name}.py"


MODULES = [path for package in ("launch", "dnw", "shards") for path in sorted((ROOT / package).rglob("*.py"))]
LONG = [path for path in MODULES if len(path.read_text().splitlines()) > LINES]


@pytest.mark.parametrize("module", LONG, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_tests_are_where_its_name_says(module: Path) -> None:
    assert place(module).is_file(), f"{module.relative_to(ROOT)} wants {place(module).relative_to(ROOT)}"


def test_folders_can_be_looked_through() -> None:
    folders = {path.parent for path in MODULES}
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if (
            count := sum(
                one.name not in ("__pycache__", "py.typed", "__init__.py") for one in folder.iterdir()
            )
        )
        > MEMBERS
    }
    assert not crowded
