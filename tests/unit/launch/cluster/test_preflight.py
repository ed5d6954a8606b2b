"""On what terms a run is submitted, and what is said where it can't be; Slurm's commands are stand-ins."""

import contextlib
import errno
import json
import os
from pathlib import Path
from unittest import mock

import pytest
from login_node import Captured, Typed, runs, runs_dir_is_empty

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch import snapshot
from launch.cluster import submission
from launch.cluster.submission import Submission
from launch.query.run_status import query_status
from launch.scheduler import partition
from launch.scheduler.slurm_command import UnreachedError


def earlier(tmp_path: Path, *nodes: str, step_s: float = 1.0, save_s: float = 1.0) -> Run:
    """Attempts of the one run that is there: killed on these nodes; and how long its steps and saves took."""
    (run,) = runs(tmp_path)
    for number, node in enumerate(nodes, start=1):
        ledger.end(run, number, "killed", node=node)
    lines = [
        {"step": 1, "kind": "train", "images_per_second": 512 / step_s},
        {"step": 1, "kind": "save", "seconds": save_s, "bytes": 1},
    ]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_dry_run_shows_what_slurm_says(typed: Typed, tmp_path: Path, capfd: Captured) -> None:
    assert typed("dry_run=true") == 0
    shown = capfd.readouterr().out.splitlines()[-2:]
    assert shown == [
        "# after the TERM of a preemption: partition low: GraceTime 10 s + KillWait 30 s",
        "# sbatch --test-only: Job 7 to start at 2026-11-23T01:11:33 using 2 processors on nodes n[1-2]",
    ]


@pytest.mark.parametrize(
    ("words", "refused", "said"),
    [
        (["cluster.partition=odd"], True,
         "# REFUSED: cluster.partition=odd: Slurm refuses the job: Invalid partition name specified"),
        (["nodes=8"], False, "# REFUSED: nodes=8: partition low has 4"),
    ],
)  # fmt: skip
def test_a_dry_run_of_a_job_that_would_be_refused(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], refused: bool, said: str
) -> None:
    if refused:
        (lab / "refuse").touch()
    assert typed(*words, "dry_run=true") == 2
    assert capfd.readouterr().out.splitlines()[-1] == said
    assert runs_dir_is_empty(tmp_path)


@pytest.mark.parametrize(
    ("words", "said", "named"),
    [
        (["cluster.partition=nope"],
         "sbatch: error: invalid partition specified: nope\n"
         "sbatch: error: Batch job submission failed: Invalid partition name specified",
         "cluster.partition=nope: Slurm refuses the job: invalid partition specified: nope; Invalid "
         "partition name specified"),
        (["nodes=4", "cluster.gpus_per_node=2", "cluster.mem_gb=99", "cluster.time=2-0"],
         "sbatch: error: Batch job submission failed: Requested node configuration is not available",
         "nodes=4, cluster.gpus_per_node=2, cluster.cpus_per_task=4, cluster.mem_gb=99: Slurm refuses the "
         "job: Requested node configuration is not available"),
        (["-m", "width=0.05,0.1", "cluster.time=2-0"],
         "sbatch: error: Batch job submission failed: Requested time limit is invalid",
         "cluster.time=2-0: Slurm refuses the job: Requested time limit is invalid"),
    ],
)  # fmt: skip
def test_a_refused_job(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], said: str, named: str
) -> None:
    (lab / "refuse").write_text(said)
    assert typed(*words) == 2
    out, err = capfd.readouterr()
    assert err.startswith(named)
    assert err.count("\n") == 1
    assert out == ""
    for run in runs(tmp_path):  # prepared, and nothing else: typed again it is simply submitted
        assert submission.newest(run) is None
        assert query_status([run])[0][0].state == "ready"
        assert list(run.slurm.iterdir()) == []
    (lab / "refuse").unlink()
    assert typed(*words) == 0


def test_a_refusal_that_a_default_of_sbatch_led_to(
    typed: Typed, lab: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab / "refuse").write_text("sbatch: error: Batch job submission failed: Invalid account")
    monkeypatch.setenv("SBATCH_ACCOUNT", "theirs")
    assert typed() == 2
    assert capfd.readouterr().err.startswith("SBATCH_ACCOUNT=theirs: Slurm refuses the job: Invalid account")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nodes=8"], "nodes=8: partition low has 4\n"),
        (["nodes=4", "cluster.partition=short", "cluster.timeout_min=60"],
         "nodes=4: partition short gives a job 2 at most\n"),
        (["cluster.partition=short", "cluster.timeout_min=61"],
         "cluster.timeout_min: partition short has a time limit of 60 minutes (got 61)\n"),
    ],
)  # fmt: skip
def test_a_job_that_would_wait_for_ever(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured, words: list[str], said: str
) -> None:
    assert typed(*words) == 2
    assert capfd.readouterr() == ("", said)
    assert runs_dir_is_empty(tmp_path)
    assert not list(lab.glob("script-*"))


@pytest.mark.parametrize(
    "words",
    [
        ["nodes=4", "cluster.timeout_min=60"],
        ["nodes=4", "cluster.partition=[short,low]"],  # one of them would do
        ["nodes=4", "cluster.partition=short", "cluster.qos=long"],  # which may grant more
        ["nodes=8", "cluster.partition=odd"],  # of which Slurm says nothing
        ["cluster.partition=short", "cluster.timeout_min=60"],
    ],
)
def test_a_job_that_slurm_may_run(typed: Typed, words: list[str]) -> None:
    assert typed(*words) == 0


def test_nodes_that_failed_twice_are_kept_out(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    """Of them n9 has left the cluster: Slurm would refuse a job that names it."""
    typed()
    earlier(tmp_path, "n2", "n9", "n2", "n9")
    capfd.readouterr()
    assert typed("cluster.exclude=n4", "nproc=2") == 0
    assert "\nnote    excluded: n2 (failed twice, or unfit)\n" in capfd.readouterr().out
    assert "#SBATCH --exclude=n4,n2\n" in (lab / "script-1").read_text()
    assert typed("nodes=4") == 0
    assert (
        "note    not excluded: n2 (failed twice, or unfit): too few nodes would be left"
        in capfd.readouterr().out
    )
    assert "--exclude" not in (lab / "script-2").read_text()


def test_a_controller_that_goes_away_meanwhile(
    typed: Typed, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed()
    earlier(tmp_path, "n2", "n2")
    said = "scontrol: Unable to contact slurm controller (connect failure)"
    monkeypatch.setattr(partition, "existing", mock.Mock(side_effect=UnreachedError(said)))
    capfd.readouterr()
    assert typed("nproc=2") == 2
    err = capfd.readouterr().err
    assert err.startswith("scontrol: no controller of Slurm answers here: Unable to contact")
    assert err.count("\n") == 1


def test_the_lead_follows_from_what_the_run_has_measured(
    typed: Typed, tmp_path: Path, lab: Path, capfd: Captured
) -> None:
    assert typed() == 0
    assert "#SBATCH --signal=USR2@180\n" in (lab / "script-0").read_text()
    earlier(tmp_path, step_s=50.0, save_s=85.0)
    assert "note" not in capfd.readouterr().out
    assert typed() == 0
    assert "#SBATCH --signal=USR2@260\n" in (lab / "script-1").read_text()
    assert (
        "note    checkpoint.every_minutes: stopping takes up to 200 s (2 steps of 50.0 s, 85.0 s to "
        "save, 15 s to spare), but after a TERM there are 120 s (cluster.grace_s) and 40 s (partition low: "
        "GraceTime 10 s + KillWait 30 s): the last checkpoint may be what counts; save more often than every "
        "10 minutes\n"
    ) in capfd.readouterr().out
    assert typed("cluster.signal_delay_s=150") == 2
    assert "cluster.signal_delay_s: 150 s, but stopping this run takes up to 200 s" in capfd.readouterr().err
    assert len(list(lab.glob("script-*"))) == 2


def test_a_disk_that_is_full(
    typed: Typed, lab: Path, small_disk: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared while there was room."""
    (lab / "refuse").write_text("later")
    monkeypatch.setattr(snapshot, "pack", lambda **_outside: b"code")
    monkeypatch.setattr(snapshot, "changed", lambda _code: [])
    assert typed(f"runs_dir={small_disk}") == 2
    (lab / "refuse").unlink()
    with contextlib.suppress(OSError):
        (small_disk / "large").write_bytes(bytes(2**20))
    capfd.readouterr()
    for words in ([], ["data.workers=0"]):  # the latter is to be noted in the run folder
        assert typed(f"runs_dir={small_disk}", *words) == 2
        err = capfd.readouterr().err
        assert "no space left on device; make room" in err
        assert err.count("\n") == 1
    (small_disk / "large").unlink()
    assert typed(f"runs_dir={small_disk}") == 0
    (run,) = [Run(path) for path in (small_disk / "static_dnw").iterdir()]
    assert [path.name for path in run.slurm.iterdir()] == ["1"]


def test_a_job_that_cannot_be_noted_is_cancelled(
    typed: Typed, lab: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed again, a run that knows nothing of its job would be submitted a second time."""

    def full(self: Submission, run: Run) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (lab / "bin" / "scancel").write_text('#!/bin/sh\necho "$@" >> "$LAB/cancelled"\n')
    (lab / "bin" / "scancel").chmod(0o755)
    monkeypatch.setattr(Submission, "write", full)
    assert typed() == 2
    assert (lab / "cancelled").read_text() == "4711\n"
    assert "not submitted, no space left on device" in capfd.readouterr().err


def test_a_partition_that_is_a_default_of_sbatch(
    typed: Typed, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "short")
    assert typed("nodes=4", "cluster.timeout_min=60") == 2
    assert "partition short gives a job 2 at most" in capfd.readouterr().err
