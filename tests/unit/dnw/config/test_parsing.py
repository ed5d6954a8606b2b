from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from example import train, values

from dnw.config import ConfigError, parse


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width: must be greater than 0 (got 0)"),
        ({"width": 1.5}, "width: must be less than or equal to 1 (got 1.5)"),
        ({"widht": 0.3}, "widht: no such setting; did you mean width?"),
        ({"optim__lrr": 0.3}, "optim.lrr: no such setting; did you mean optim.lr?"),
        (
            {"optim__lr": "fast"},
            "optim.lr: must be a valid number, unable to parse string as a number (got 'fast')",
        ),
        ({"wiring__name": "dwn"}, "wiring.name: must be 'dnw', 'random'"),
        ({"seed": -1}, "seed: must be greater than or equal to 0 (got -1)"),
    ],
)
def test_refuses_with_name_and_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(values(**changes))
    assert message in str(refused.value)


def test_names_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse(values(width=0, batch=0, widht=1))
    assert len(str(refused.value).splitlines()) == 3


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        train().seed = 1  # type: ignore[misc]


def test_needs_no_torch() -> None:
    modules = "dnw.config, dnw.runs.folder, dnw.runs.ledger, dnw.compose, dnw.schedule"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
