"""What trackers are told of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folder import finish, make, note

from dnw.runs import ledger
from dnw.tracking.facts import attempts_table, read_facts


def test_the_identity_stays_with_the_folder(tmp_path: Path) -> None:
    run = make(tmp_path)
    named = read_facts(run).id
    assert named.startswith("0123456789-")
    run.folder.rename(run.folder.with_name("elsewhere"))
    assert read_facts(type(run)(run.folder.with_name("elsewhere"))).id == named
    assert read_facts(make(tmp_path)).id != named  # fresh=true
    assert [path.name for path in run.tracking.iterdir()] == ["id.json"]


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ({}, "running"),
        ({"reason": "stopped", "cause": "preempted"}, "interrupted"),
        ({"reason": "stopped", "cause": "cancelled"}, "stopped"),
        ({"reason": "error"}, "failed"),
        ({"reason": "killed"}, "failed"),
    ],
)
def test_states(tmp_path: Path, end: dict[str, str], state: str) -> None:
    run = make(tmp_path)
    note(run, 1, "claim", 1.0, job="7", hosts=["n1"])
    if end:
        note(run, 1, "end", 2.0, **end)
    assert read_facts(run).state == state
    finish(run)
    assert read_facts(run).state == "finished"


def test_foreign_text_is_no_markup(tmp_path: Path) -> None:
    run = make(tmp_path)
    note(run, 1, "claim", 1.0, job="7", hosts=["n<b>1"])
    note(run, 1, "end", 2.0, reason="error", detail="a|b [x](y)\nc")
    last = attempts_table(ledger.read(run)).splitlines()[-1]
    assert last == r"| 1 | 7 | n\<b\>1 | - | - | error: a\|b \[x\](y) c |"


def test_settings_are_those_that_change_the_result(tmp_path: Path) -> None:
    settings = read_facts(make(tmp_path)).settings
    assert settings["optim.lr"]
    assert not {"log.every_steps", "track", "data.dir"} & settings.keys()
