"""A run that is there goes on as what it was frozen as, or not at all; what is refused changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from folder_digest import digest
from login_node import Captured, Typed, runs

from dnw import config
from dnw.runs import ledger, lock
from dnw.runs.folder import Run
from dnw.runs.lock import Lock
from launch import snapshot


@pytest.fixture
def run(typed: Typed, tmp_path: Path, capfd: Captured) -> Run:
    """A run whose job is over."""
    assert typed() == 0
    capfd.readouterr()
    (made,) = runs(tmp_path)
    return made


def refreeze(run: Run, name: str, text: str) -> None:
    """Have a run keep other code than that of the working tree, as if this had been mended since."""
    (run.code / name).write_text(text)
    record = json.loads((run.code / "code.json").read_text())
    record["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    record["digest"] = "0" * 64
    (run.code / "code.json").write_text(json.dumps(record))


def edit(run: Run, before: str, after: str) -> None:
    text = run.config.read_text()
    assert before in text
    run.config.write_text(text.replace(before, after))


DAMAGES: dict[str, tuple[Callable[[Run], object], tuple[str, ...]]] = {
    "no code": (lambda run: shutil.rmtree(run.code), ("code is missing", "code=new", "fresh=true")),
    "no record": (lambda run: (run.code / "code.json").unlink(), ("code.json is missing or damaged",)),
    "record cut": (
        lambda run: (run.code / "code.json").write_text("{"),
        ("code.json is missing or damaged",),
    ),
    "a file gone": (lambda run: (run.code / "dnw" / "train.py").unlink(), ("dnw/train.py is missing",)),
    "a file edited": (
        lambda run: (run.code / "dnw" / "train.py").write_text("1"),
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


def test_an_edit_that_is_typed_too_is_none(typed: Typed, run: Run) -> None:
    edit(run, "keep: 2", "keep: 7")
    assert typed("checkpoint.keep=7") == 0
    assert config.load(run.config).checkpoint.keep == 7
    assert typed() == 0  # and what was typed is no edit
    assert config.load(run.config).checkpoint.keep == 2


def test_a_configuration_of_an_earlier_version_has_no_digest(typed: Typed, run: Run, capfd: Captured) -> None:
    plain = config.dump(config.load(run.config))
    run.config.write_text(plain.replace("keep: 2", "keep: 7"))  # may have been typed, then
    assert typed() == 0
    run.config.write_text(plain.replace("momentum: 0.9", "momentum: 0.8"))
    assert typed() == 2
    assert "optim.momentum is 0.8 there" in capfd.readouterr().err


def test_mended_code_is_told_of_and_both_ways(typed: Typed, run: Run, capfd: Captured) -> None:
    refreeze(run, "dnw/train.py", "a fault")
    refreeze(run, "tests/conftest.py", "which no attempt executes")
    assert typed() == 0
    note = "goes on with the code that it was submitted with; here differ dnw/train.py: code=new takes"
    assert f"note    {note}" in capfd.readouterr().out
    assert (run.code / "dnw" / "train.py").read_text() == "a fault"


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


def test_dry_run_without_images(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("dry_run=true", "data.dir=nowhere") == 2
    out = capfd.readouterr().out
    assert "#SBATCH --nodes=1" in out
    assert "momentum: 0.9" in out
    assert f"{tmp_path}/runs/static_dnw/default-SIGNATURE\n" in out
    last = out.splitlines()[-1]
    assert last.startswith(f"# REFUSED: {tmp_path}/nowhere: no such folder: write shards there with: python")
    assert {path.name for path in tmp_path.iterdir()} == {"lab"}


@pytest.mark.parametrize("fault", ["too much code", "unreadable shard", "port", "sbatch"])
def test_dry_run_of_what_would_fail(
    typed: Typed,
    tmp_path: Path,
    lab: Path,
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    words, said = ["dry_run=true"], "the code to freeze comes to"
    if fault == "too much code":
        monkeypatch.setattr(snapshot, "LIMIT_MB", 0)
    elif fault == "unreadable shard":  # root may read everything
        real = os.access
        monkeypatch.setattr(
            "os.access", lambda path, mode: not str(path).endswith(".tar") and real(path, mode)
        )
        said = "-train-0000.tar: can't be read by you"
    elif fault == "port":
        words, said = [*words, "port=1", "cluster=local"], "port: 1 can't be used"
        monkeypatch.setattr("launch.node.torchrun._why_not", lambda *_: "taken")
    else:
        (lab / "refuse").write_text("")
        said = "Slurm refuses the job"
    assert typed(*words) == 2
    out = capfd.readouterr().out
    assert out.splitlines()[-1].startswith("# REFUSED: ")
    assert said in out.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


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
