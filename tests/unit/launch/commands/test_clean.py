"""What may be deleted, and that nothing else is."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folder import Slurm, finish, make, note, slurm, submit

from dnw.runs.folder import Run, step_path
from dnw.runs.lock import Lock
from launch.commands import clean, cleanup_candidates
from launch.commands.clean import size
from launch.runs import main

NOW = time.time()
Cleaned = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.chdir(tmp_path)
    cluster = slurm(tmp_path, monkeypatch)
    cluster.says("squeue")
    cluster.says("sacct")
    return cluster


@pytest.fixture
def cleaned(cluster: Slurm, capsys: pytest.CaptureFixture[str]) -> Cleaned:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["clean", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def aged(path: Path) -> Path:
    """Not written to for two hours."""
    os.utime(path, (NOW - 7200, NOW - 7200))
    return path


def filled(run: Run, *steps: int) -> Run:
    """With checkpoints."""
    for path in (*(step_path(run.checkpoints, step) for step in steps), run.checkpoints / "init.pt"):
        path.write_bytes(b"x" * 1000)
    (run.checkpoints / "best.pt").write_bytes(b"x" * 1000)
    return run


def left(run: Run) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def queue(run: Run, job: str, state: str, folder: str = "") -> str:
    folder = folder or f"{run.slurm}/1"
    return f"{job}|{state}|None|n1|low|{NOW:.0f}|{NOW:.0f}|{folder}/job.sh\n"


def test_a_finished_run_keeps_what_others_begin_with(tmp_path: Path, cleaned: Cleaned) -> None:
    run = filled(make(tmp_path / "runs"), 4, 8, 10)
    finish(run)
    code, out, _ = cleaned("--yes")
    assert code == 0
    assert "deleted 2.0 kB" in out
    assert left(run) == ["best.pt", "init.pt", "step-00000010.pt"]
    assert cleaned("--yes")[:2] == (0, "nothing to clean\n")


def test_a_result_that_is_of_no_checkpoint_keeps_them_all(tmp_path: Path, cleaned: Cleaned) -> None:
    run = filled(make(tmp_path / "runs"), 4, 8)
    finish(run, steps=10)
    assert cleaned("--yes")[:2] == (0, "nothing to clean\n")


def test_an_unfinished_run_keeps_its_checkpoints_but_damaged_ones(tmp_path: Path, cleaned: Cleaned) -> None:
    run = filled(make(tmp_path / "runs"), 4, 8)
    note(run, 1, "claim", NOW - 50, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    note(run, 1, "end", NOW - 20, reason="error", step=8)
    (run.checkpoints / "step-00000006.pt.damaged").write_bytes(b"x")
    for name in ("001", "002", ".001-77"):
        (run.claims / name).mkdir(parents=True)
        aged(run.claims / name)
    for path in (run.folder / "metrics.jsonl.tmp", run.checkpoints / "best.pt.tmp", run.folder / "new.tmp"):
        path.write_bytes(b"x")
        aged(path) if path.name != "new.tmp" else None
    assert cleaned("--yes")[0] == 0
    assert left(run) == ["best.pt", "init.pt", "step-00000004.pt", "step-00000008.pt"]
    assert [path.name for path in run.claims.iterdir()] == ["002"]  # which the ledger doesn't know yet
    assert (run.folder / "new.tmp").exists()
    assert not (run.folder / "metrics.jsonl.tmp").exists()


def at_work(run: Run, cluster: Slurm, how: str) -> None:
    submit(run, "7", at=NOW - 60)
    cluster.says("squeue", queue(run, "7", how))


def slurm_is_silent(run: Run, cluster: Slurm, how: str) -> None:
    submit(run, "7", at=NOW - 60)
    cluster.says("squeue", err="Unable to contact slurm controller", code=1)


def elsewhere(run: Run, cluster: Slurm, how: str) -> None:
    submit(run, "7", "foreground", host="elsewhere")


def damaged(run: Run, cluster: Slurm, how: str) -> None:
    run.launch.write_text("{")


@pytest.mark.parametrize(
    ("state", "how", "said"),
    [
        (at_work, "RUNNING", ""),
        (at_work, "PENDING", ""),
        (slurm_is_silent, "", ""),  # as far as the files tell it is queued
        (elsewhere, "", ""),
        (damaged, "", "skipped: the state of the run is unknown"),
    ],
)
@pytest.mark.parametrize("name", ["default-0123456789", "default-0123456789.old-20261123-010203-004"])
def test_what_is_or_may_be_at_work_is_left_alone(
    tmp_path: Path, cluster: Slurm, cleaned: Cleaned, state: Any, how: str, said: str, name: str
) -> None:
    run = filled(make(tmp_path / "runs", name), 4, 8)
    (run.checkpoints / "step-00000006.pt.damaged").write_bytes(b"x")
    state(run, cluster, how)
    code, out, err = cleaned("--yes")
    assert (code, out) == (0, "nothing to clean\n")
    assert said in err
    assert len(left(run)) == 5


def test_a_lock_that_is_held_counts_whatever_the_files_say(tmp_path: Path, cleaned: Cleaned) -> None:
    run = filled(make(tmp_path / "runs"), 4, 10)
    finish(run)
    with Lock.take(run.lock):
        code, out, err = cleaned("--yes")
    assert (code, out) == (0, "nothing to clean\n")
    assert "skipped" in err


def test_runs_moved_aside_go_as_a_whole(tmp_path: Path, cleaned: Cleaned) -> None:
    runs = tmp_path / "runs"
    run, other = make(runs), make(runs, "default-ffffffffff")
    for name in (run.folder.name, other.folder.name):
        make(runs, f"{name}.old-20261123-010203-004")
    assert cleaned("default-0123", "--yes")[0] == 0
    assert sorted(path.name for path in (runs / "example").iterdir()) == [
        run.folder.name,
        other.folder.name,
        f"{other.folder.name}.old-20261123-010203-004",
    ]
    assert cleaned("--yes")[0] == 0
    assert len(list((runs / "example").iterdir())) == 2


def test_run_folders_that_were_never_completed(tmp_path: Path, cleaned: Cleaned) -> None:
    make(tmp_path / "runs")
    for name in (".preparing-old", ".preparing-new"):
        (tmp_path / "runs" / "example" / name).mkdir()
    aged(tmp_path / "runs" / "example" / ".preparing-old")
    assert cleaned("--yes")[0] == 0
    assert [path.name for path in (tmp_path / "runs" / "example").glob(".*")] == [".preparing-new"]


def test_sweeps_go_when_all_their_jobs_are_over(tmp_path: Path, cluster: Slurm, cleaned: Cleaned) -> None:
    sweeps = tmp_path / "runs" / ".sweeps"
    for number in "12345":
        (sweeps / number).mkdir(parents=True)
        aged(sweeps / number) if number != "5" else None
    done, still, broken = (make(tmp_path / "runs", f"default-{letter * 10}") for letter in "abc")
    submit(done, "1_0", folder=str(sweeps / "1"), at=NOW - 9000)
    finish(done)
    submit(still, "2_0", folder=str(sweeps / "2"), at=NOW - 60)
    submit(broken, "3_0", folder=str(sweeps / "3"), at=NOW - 60)
    cluster.says("squeue", queue(still, "2_0", "PENDING", str(sweeps / "2")))
    assert cleaned("--yes")[0] == 0
    # 3: its job went without a word, which logs may find there; 5: just made, its runs don't say so yet
    assert sorted(path.name for path in sweeps.iterdir()) == ["2", "3", "5"]
    broken.launch.write_text("{")
    assert cleaned("--yes")[0] == 0
    assert sorted(path.name for path in sweeps.iterdir()) == ["2", "3", "5"]


def test_links_are_not_followed(tmp_path: Path, cleaned: Cleaned) -> None:
    outside = make(tmp_path / "scratch", "default-ffffffffff.old-20261123-010203-004", exp="away")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "precious").write_text("x")
    aside = make(tmp_path / "runs", "default-0123456789.old-20261123-010203-004")
    (aside.folder / "link").symlink_to(kept)
    (tmp_path / "runs" / "away").symlink_to(outside.folder.parent)
    code, out, err = cleaned("--yes")
    assert code == 0
    assert "away" not in out
    assert "skipped: a symbolic link leads there" in err
    assert not aside.folder.exists()
    assert outside.config.exists()
    assert (kept / "precious").exists()


def superfluous(tmp_path: Path) -> Run:
    run = filled(make(tmp_path / "runs"), 4, 10)
    finish(run)
    return run


def test_without_a_terminal_it_lists_and_says_how(tmp_path: Path, cleaned: Cleaned) -> None:
    run = superfluous(tmp_path)
    code, out, err = cleaned()
    assert code == 1
    assert "example/default-0123456789/checkpoints/step-00000004.pt" in out
    assert "1.0 kB" in out
    command = "python launch/runs.py clean"
    assert err == (
        f"nothing deleted: no terminal to ask on; `{command} --yes` deletes all of these, "
        f"`{command} RUN --yes` those of one run\n"
    )
    assert len(left(run)) == 4


def test_dry_run(tmp_path: Path, cleaned: Cleaned) -> None:
    run = superfluous(tmp_path)
    code, out, err = cleaned("--dry-run", "--yes")
    assert (code, err) == (0, "")
    assert "step-00000004.pt" in out
    assert len(left(run)) == 4


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1), (None, 1)])
def test_asked_on_a_terminal(
    tmp_path: Path, cleaned: Cleaned, monkeypatch: pytest.MonkeyPatch, answer: str | None, code: int
) -> None:
    run = superfluous(tmp_path)

    def replied(question: str) -> str:
        assert question == "Delete? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", replied)
    assert cleaned()[0] == code
    assert len(left(run)) == (3 if code == 0 else 4)


def test_what_is_needed_again_while_the_question_stands_stays(
    tmp_path: Path, cluster: Slurm, cleaned: Cleaned, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path / "runs")
    (run.checkpoints / "step-00000006.pt.damaged").write_bytes(b"x")

    def meanwhile() -> bool:
        at_work(run, cluster, "RUNNING")
        return True

    monkeypatch.setattr(clean, "_is_agreed", meanwhile)
    code, out, _ = cleaned()
    assert (code, out.splitlines()[-1]) == (0, "deleted 0 B")
    assert left(run) == ["step-00000006.pt.damaged"]


def test_an_attempt_that_begins_at_that_moment(
    tmp_path: Path, cleaned: Cleaned, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = superfluous(tmp_path)
    monkeypatch.setattr("dnw.runs.lock.PATIENCE_S", 0.0)
    monkeypatch.setattr(cleanup_candidates, "_is_idle", lambda one: True)
    with Lock.take(run.lock):
        code, _, err = cleaned("--yes")
    assert code == 2
    assert "not deleted" in err
    assert len(left(run)) == 4


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (5e15, "5000.0 TB")]
)
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said
