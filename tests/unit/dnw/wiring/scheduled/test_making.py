"""A setting of each wiring arrives at its edges."""

from __future__ import annotations

import dataclasses
from typing import Any

import example
import pytest

from dnw.config import Wiring
from dnw.config.wiring import USED_BY
from dnw.wiring.scheduled.making import NAMES, make_scheduled_edges


@pytest.mark.parametrize("name", sorted(NAMES))
def test_settings_arrive(name: str) -> None:
    used = {setting for setting, users in USED_BY.items() if name in users}
    plain, changed = made(name), made(name, **{setting: OTHER[setting] for setting in used})
    differing = {key for key in vars(plain) if key[1:] in used and vars(plain)[key] != vars(changed)[key]}
    assert differing == {f"_{setting}" for setting in used}


OTHER: dict[str, Any] = {"every": 7, "drop": 0.2, "start": 0.1, "until": 0.5, "cycles": 3}
OTHER |= {"threshold": -1.0, "rounds": 2, "n": 1, "m": 2, "sr_ste": 0.5}


def made(name: str, **settings: Any) -> Any:
    train = dataclasses.replace(example.train(), wiring=Wiring(name=name, **settings))  # type: ignore[arg-type]
    given = {"legal": None, "layout": None, "quota": None, "block": 1}
    return make_scheduled_edges(train, 0, (4, 8), 16, key=(0,), **given)
