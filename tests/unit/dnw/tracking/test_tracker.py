"""Trackers by name."""

from __future__ import annotations

import sys

import pytest

from dnw.tracking.making import make
from dnw.tracking.tracker import TrackerError, remedy


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dnw.tracking.wandb_tracker", None)
    monkeypatch.delitem(sys.modules, "dnw.tracking.wandb_tracker")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrackerError, match=r"wandb: .* not installed; .* -m pip install wandb"):
        make("wandb")
    assert remedy("mlflow") == f"{sys.executable} -m pip install mlflow-skinny"
