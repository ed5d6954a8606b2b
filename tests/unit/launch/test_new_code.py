"""The present code in place of what a run has; what is written where is told by the ledger."""

from __future__ import annotations

from pathlib import Path

from login_node import Captured, Typed, as_folder, frozen, refreeze, runs

from dnw.runs import ledger, lock
from dnw.runs.folder import Run
from dnw.runs.frozen_code import read_record
from launch import snapshot


def test_new_code(typed: Typed, run: Run, tmp_path: Path, capfd: Captured) -> None:
    refreeze(run, "dnw/train.py", "a fault")
    ledger.claim(run, 1, job="1")
    ledger.start(run, 1, step=0, nodes=1, world=1)
    ledger.end(run, 1, "error", step=3)
    assert typed("code=new") == 0
    assert "note    code=new: takes over what differs here: dnw/train.py" in capfd.readouterr().out
    assert runs(tmp_path) == [run]  # it is no part of what a run is
    assert snapshot.differing(run.code) == snapshot.changed(run.code) == []
    assert frozen(run.code_before(2))["dnw/train.py"] == "a fault"
    assert lock.holder(run.lock) is None
    ledger.claim(run, 2, job="2")
    ledger.start(run, 2, step=3, nodes=1, world=1)
    record = read_record(run.code)
    assert ledger.code_changes(run) == [
        {"attempt": 2, "step": 3, **{key: record[key] for key in ("digest", "commit", "dirty")}}
    ]
    assert [one.number for one in ledger.read(run)] == [1, 2]
    before = run.code.read_bytes()
    assert typed("code=new") == 0  # the same once more
    assert (run.code.read_bytes(), len(ledger.code_changes(run))) == (before, 1)


def test_new_code_in_place_of_what_is_gone(typed: Typed, run: Run) -> None:
    run.code.unlink()
    assert typed("code=new") == 0
    assert snapshot.changed(run.code) == []


def test_new_code_in_place_of_a_folder(typed: Typed, run: Run) -> None:
    """As earlier versions kept it; that goes on as it is until new code is asked for."""
    as_folder(run)
    folder = run.code
    assert (folder.name, snapshot.changed(folder), snapshot.differing(folder)) == ("code", [], [])
    assert typed() == 0
    assert run.code == folder
    (folder / "dnw" / "train.py").write_text("a fault")
    assert snapshot.changed(folder) == ["dnw/train.py was changed"]
    assert typed("code=new") == 0
    assert (run.code.name, snapshot.changed(run.code)) == ("code.zip", [])
    assert run.code_before(1) == run.folder / "code-before-001"
    assert (run.code_before(1) / "dnw" / "train.py").read_text() == "a fault"
