"""The present code in place of what a run has; what is written where is told by the ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

from folder_digest import digest
from login_node import Captured, Typed, refreeze, runs

from dnw.runs import ledger, lock
from dnw.runs.folder import Run
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
    assert (run.code_before(2) / "dnw" / "train.py").read_text() == "a fault"
    assert lock.holder(run.lock) is None
    ledger.claim(run, 2, job="2")
    ledger.start(run, 2, step=3, nodes=1, world=1)
    record = snapshot.read_record(run.code)
    assert ledger.code_changes(run) == [
        {"attempt": 2, "step": 3, **{key: record[key] for key in ("digest", "commit", "dirty")}}
    ]
    assert [one.number for one in ledger.read(run)] == [1, 2]
    before = digest(run.code)
    assert typed("code=new") == 0  # the same once more
    assert (digest(run.code), len(ledger.code_changes(run))) == (before, 1)


def test_new_code_in_place_of_what_is_gone(typed: Typed, run: Run) -> None:
    shutil.rmtree(run.code)
    assert typed("code=new") == 0
    assert snapshot.changed(run.code) == []
