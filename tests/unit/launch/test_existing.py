"""A run that is there goes on as what it was frozen as, or not at all; what is refused changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from folder_digest import digest
from login_node import Captured, Typed, damage, edit, frozen, refreeze

from dnw.runs.folder import Run
from dnw.runs.lock import Lock

DAMAGES: dict[str, tuple[Callable[[Run], object], tuple[str, ...]]] = {
    "no code": (lambda run: run.code.unlink(), ("code.zip is missing", "code=new", "fresh=true")),
    "no record": (lambda run: damage(run.code, "code.json", None), ("code.json is missing or damaged",)),
    "record cut": (
        lambda run: damage(run.code, "code.json", "{"),
        ("code.json is missing or damaged",),
    ),
    "a file gone": (lambda run: damage(run.code, "dnw/train.py", None), ("dnw/train.py is missing",)),
    "cut off": (
        lambda run: run.code.write_bytes(run.code.read_bytes()[:9999]),
        ("code.json is missing or damaged",),
    ),
    "a file edited": (
        lambda run: damage(run.code, "dnw/train.py", "1"),
        ("dnw/train.py was changed", "code=new"),
    ),
    "a setting edited": (
        lambda run: edit(run, "momentum: 0.9", "momentum: 0.8"),
        ("config.yaml: edited by hand: optim.momentum is 0.8 there, 0.9 as typed", "fresh=true"),
    ),
    "a setting edited that changes no result": (
        lambda run: edit(run, "keep: 2", "keep: 7"),
        ("checkpoint.keep is 7 there, 2 as typed",),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("words", [(), ("dry_run=true",)], ids=["typed", "dry run"])
def test_what_was_frozen_has_changed(
    typed: Typed, run: Run, lab: Path, capfd: Captured, damage: str, words: tuple[str, ...]
) -> None:
    harm, said = DAMAGES[damage]
    harm(run)
    before = digest(run.folder.parent)
    assert typed(*words) == 2
    out, err = capfd.readouterr()
    line = out.splitlines()[-1].removeprefix("# REFUSED: ") if words else err
    assert len(line.splitlines()) == 1
    assert all(word in line for word in said), line
    assert digest(run.folder.parent) == before
    assert len(list(lab.glob("script-*"))) == 1


def test_mended_code_is_told_of_and_both_ways(typed: Typed, run: Run, capfd: Captured) -> None:
    refreeze(run, "dnw/train.py", "a fault")
    refreeze(run, "tests/conftest.py", "which no attempt executes")
    assert typed() == 0
    note = "goes on with the code that it was submitted with; here differ dnw/train.py: code=new takes"
    assert f"note    {note}" in capfd.readouterr().out
    assert frozen(run.code)["dnw/train.py"] == "a fault"


@pytest.mark.parametrize("word", ["code=new", "fresh=true"])
def test_nothing_is_replaced_under_a_run_at_work(typed: Typed, run: Run, capfd: Captured, word: str) -> None:
    with Lock.take(run.lock) as held:
        held.write(attempt=2, job="9", pid=8, host="n7")
        before = digest(run.folder.parent)
        assert typed(word) == 2
        assert digest(run.folder.parent) == before
    err = capfd.readouterr().err
    assert err.startswith(f"{word.partition('=')[0]}: {run.name} is running (attempt 2 (job 9")
    assert err.endswith("; stop it first\n")


def test_a_finished_run_takes_no_other_code(typed: Typed, run: Run, capfd: Captured) -> None:
    run.result.write_text('{"top1": 61.5, "code_changes": [{"attempt": 2, "step": 3, "digest": "0"}]}')
    before = digest(run.folder.parent)
    assert typed("code=new") == 2
    assert "finished, so no step is left for other code" in capfd.readouterr().err
    assert typed() == 0
    assert "other code    attempt 2, after step 3" in capfd.readouterr().out
    assert digest(run.folder.parent) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["cluster=local", "cluster.partition=gpu", "cluster.setup=[a]"],
            "cluster.partition, cluster.setup: no",
        ),
        (["cluster=local", "+cluster.qos=a"], "cluster.qos: no effect with cluster=local"),
        (["cluster=local", "cluster.array_parallelism=2"], "cluster.array_parallelism: no effect"),
        (["cluster=local", "cluster.mem_gb=4"], "cluster.mem_gb: no effect"),
        (
            ["cluster=local", "cluster.additional_parameters={comment: a}"],
            "cluster.additional_parameters: no",
        ),
        (['cluster.comment="a"'], "cluster.comment: no such setting"),
        (['cluster.partition="a\nb"'], "cluster.partition: must be on one line"),
        (['cluster.account="a\tb"'], "cluster.account: must be on one line"),
        (
            ['cluster.additional_parameters={comment: "a\rb"}'],
            "cluster.additional_parameters.comment: must be",
        ),
        (["runs_dir=a%j"], "has '%' in it"),
        (["runs_dir=/tmp/%A/%t"], "has '%' in it"),
        (["runs_dir=a:b"], "has ':' in it"),
        (['runs_dir="a\nb"'], r"has '\n' in it"),
        (["runs_dir=a\\b"], r"has '\\' in it"),
    ],
)
def test_what_would_be_read_as_something_else(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], said: str
) -> None:
    before = digest(tmp_path)
    assert typed(*words) == 2
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
    assert digest(tmp_path) == before
