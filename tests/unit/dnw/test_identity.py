from __future__ import annotations

from typing import Any

import pytest
from example import train

from dnw.identity import signature


@pytest.mark.parametrize(
    "same",
    [{"data__dir": "/elsewhere"}, {"data__workers": 3}, {"log__every_steps": 7}, {"checkpoint__keep": 9}],
)
def test_signature_ignores_what_changes_no_result(same: dict[str, Any]) -> None:
    assert signature(train(**same)) == signature(train())


@pytest.mark.parametrize(
    "other", [{"width": 0.06}, {"seed": 1}, {"threads": 2}, {"batch": 64}, {"data__train_fingerprint": "ab"}]
)
def test_signature_tells_runs_apart(other: dict[str, Any]) -> None:
    assert signature(train(**other)) != signature(train())
