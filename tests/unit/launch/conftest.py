from pathlib import Path

import pytest
from login_node import Captured, Typed, runs

from dnw.runs.folder import Run


@pytest.fixture
def run(typed: Typed, tmp_path: Path, capfd: Captured) -> Run:
    """A run whose job is over."""
    assert typed() == 0
    capfd.readouterr()
    (made,) = runs(tmp_path)
    return made
