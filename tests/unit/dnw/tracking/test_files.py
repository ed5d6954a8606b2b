"""Files that can't be sent."""

from __future__ import annotations

import time

import pytest

from dnw.tracking import files
from dnw.tracking.files import Files
from dnw.tracking.tracker import TrackerError


class Store:
    """One that fails when told to."""

    def __init__(self) -> None:
        self.is_away, self.calls = True, 0

    def take(self) -> None:
        self.calls += 1
        if self.is_away:
            raise TrackerError("mlflow: away")


def test_one_that_fails_is_tried_again_later_or_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, store = Files(), Store()
    said = [sent.unsent]
    for state in ("a", "a", "b"):
        sent.send("x", state, store.take)
    assert store.calls == 2
    said.append(sent.unsent)
    monkeypatch.setattr(files, "PAUSE_S", 0.0)
    sent.send("x", "c", store.take)
    store.is_away = False
    time.sleep(files.SHARE * 0.001)
    sent.send("x", "c", store.take)
    sent.send("x", "c", store.take)
    assert store.calls == 4
    said.append(sent.unsent)
    assert said == ["", "mlflow: away (so these files are not sent, all else is: x)", ""]
