"""What is said of a run that has diverged."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from run_folder import make, submit

from dnw.runs import divergence, ledger
from dnw.runs.divergence import DIVERGED, Divergence
from dnw.runs.folder import Run, step_path
from launch import snapshot
from launch.node.job import Job

FOUND = Divergence(step=7, what="the loss", rate=0.05, rank=1, layer="blocks.0 (weight)", tensors="3 of 54")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = make(tmp_path / "runs", exp="demo_dnw")
    run.code.mkdir()
    ledger.claim(run, 1, job="7", restart=0, hosts=["n1"])
    ledger.start(run, 1, step=0)
    ledger.end(run, 1, "diverged", step=8, detail=FOUND.summary, diverged=dataclasses.asdict(FOUND))
    step_path(run.checkpoints, 4).touch()
    return run


def _said(run: Run) -> str:
    last = divergence.last(run)
    assert last is not None
    return divergence.message(run, last)


def test_the_message_says_where_how_far_back_and_what_helps(run: Run) -> None:
    submit(
        run,
        "7",
        words=[
            "+exp=demo_dnw",
            "optim.lr=5",
            "width=0.1",
            "fresh=true",
            "+cluster.additional_parameters.x=1",
            'notify.command="mail me"',
        ],
    )
    first, place, healthy, _, lower, _, again = _said(run).splitlines()
    assert first == f"{run.name}: diverged: the loss of step 7 is not finite, learning rate 0.05"
    assert (
        place
        == "  first value that isn't finite: blocks.0 (weight), rank 1; 3 of 54 tensors have such values"
    )
    assert healthy == f"  last healthy checkpoint: step 4, {step_path(run.checkpoints, 4)}"
    typed = ["+exp=demo_dnw", "width=0.1", "+cluster.additional_parameters.x=1", 'notify.command="mail me"']
    # 0.1 is what the run was trained with, and the experiment's own: a tenth of that
    assert shlex.split(lower) == ["python", "launch/slurm.py", *typed, "optim.lr=0.01", "fresh=true"]
    others = ["+exp=demo_dnw", "optim.lr=5", *typed[1:]]
    assert shlex.split(again) == ["python", "launch/slurm.py", *others, "resume_diverged=true"]


def test_what_a_job_says_whose_code_is_an_archive(run: Run, tmp_path: Path) -> None:
    """configs/ lies in it, where Hydra can't read; a job that raised here told nobody."""
    submit(run, "7", words=["+exp=demo_dnw", "optim.lr=5"])
    code = tmp_path / "code.zip"
    code.write_bytes(snapshot.pack())
    show = (
        "import sys; from pathlib import Path; "
        "from dnw.runs import divergence; from dnw.runs.folder import Run; "
        "run = Run(Path(sys.argv[1])); print(divergence.message(run, divergence.last(run)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show, str(run.folder)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "python launch/slurm.py +exp=demo_dnw optim.lr=0.01 fresh=true" in done.stdout


def test_without_a_record_of_what_was_typed_it_names_the_setting(run: Run) -> None:
    assert _said(run).endswith("what helps: a lower optim.lr than 0.1, with fresh=true, which begins anew")


@pytest.mark.parametrize("after", [0, 2])
def test_a_job_that_is_started_again_leaves_it_alone(
    run: Run, after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slurm starts a job again that it preempts while it ends."""
    assert (
        Job(run.folder, nodes=1, nproc=1, grace_s=1, foreground=True, after_diverged=after).run() == DIVERGED
    )
    assert capsys.readouterr().err.strip() == _said(run)
    assert [attempt.number for attempt in ledger.read(run)] == [1]


def test_only_the_last_attempt_counts(run: Run) -> None:
    ledger.claim(run, 2, job="8", restart=0, hosts=["n1"])
    assert divergence.last(run) is None
