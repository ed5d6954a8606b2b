"""A measurement as a worker makes it, but for the process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from worker import prepare

from dnw.runs.folder import Run
from dnw.self_test import measure, nodes, ties
from dnw.training.watchdog import Watchdog


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A case of a self-test, in a process that goes on after it."""
    for name in ("die_with_parent", "configure", "end_children"):
        monkeypatch.setattr(measure, name, lambda *_: None)
    monkeypatch.setattr(Watchdog, "start", lambda _: None)
    monkeypatch.setattr(ties, "SHAPES", ((7, 1),))
    monkeypatch.setenv("DNW_ATTEMPT", "1")
    made = prepare(tmp_path / "case", tmp_path)
    (made.claims / "001").mkdir(parents=True)
    return made


@pytest.mark.parametrize(("fault", "is_right"), [("", True), ("nodes", True), ("ties", False)])
def test_the_fault_of_its_own_name_is_put_in(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: str, is_right: bool
) -> None:
    monkeypatch.setenv("DNW_SELF_TEST_FAULT", fault)
    assert measure.main([str(run.folder), "ties"]) == 0
    (rank,) = json.loads(run.result.read_text())["ranks"]
    assert rank["is_right"] == is_right
    assert rank["tolerance"] == "0 differ"


def test_what_goes_wrong_is_what_was_found(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One process that raises must not leave the others waiting."""

    def fails(_: object) -> object:
        raise ValueError("no memory\nand more")

    monkeypatch.setattr(nodes, "measure", fails)
    assert measure.main([str(run.folder), "nodes"]) == 0
    (rank,) = json.loads(run.result.read_text())["ranks"]
    assert (rank["is_right"], rank["figure"]) == (False, "ValueError: no memory")
    assert "in fails" in capsys.readouterr().err
