"""A sweep on a real Slurm: preempted on its way it ends in a table, typed again it submits what is left.

So does an adaptive one, whose command is killed as well.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run, newest_step
from slurm import events
from slurm.cluster import Cluster
from slurm.events import ROOT, WORDS, all_logs, finishes, is_training, job_of, steps, typed
from slurm.job import until

pytestmark = pytest.mark.xdist_group("slurm runs")
WIDTHS = ("0.05", "0.1", "0.15", "0.2")
ONE_EACH = ("nodes=1", "nproc=1", "steps=12", "hydra.launcher.array_parallelism=3")
# of two rates the first one trains a network, and the other one falls behind it at its first evaluation
STUDY = [
    *["-m", "hydra/sweeper=optuna", "optim.lr=0.05,1e-9", "hydra.sweeper.n_trials=2", "hydra.sweeper.seed=4"],
    *[
        "hydra.sweeper.objectives=top1",
        "hydra.sweeper.startup_trials=1",
        "hydra.sweeper.warmup_evaluations=0",
    ],
    *["hydra.launcher.array_parallelism=1", "cluster.partition=low"],
    *[word for word in WORDS if word != "nodes=2"],
]


def jobs_in(printed: str) -> list[str]:
    """Those that the submit command has made."""
    return [line.split()[1] for line in printed.splitlines() if line.startswith("job ")]


def runs_in(here: Path) -> list[Run]:
    return [Run(folder) for folder in sorted((here / "runs" / "demo_dnw").iterdir())]


def test_four_widths(cluster: Cluster, few_images: Path, tmp_path: Path) -> None:
    def sweep(*widths: str) -> str:
        return typed(cluster, few_images, tmp_path, "-m", f"width={','.join(widths)}", *ONE_EACH)

    array = {job.partition("_")[0] for job in jobs_in(sweep(*WIDTHS))}
    runs = runs_in(tmp_path)
    assert len(array) == 1
    assert sorted(job_of(run).partition("_")[2] for run in runs) == ["0", "1", "2", "3"]
    until(lambda: max(map(steps, runs)) >= 3)
    events.preempted(cluster, runs[0])
    again = sweep(*WIDTHS)
    assert jobs_in(again) == []
    assert again.count("queued, job") + again.count("running, ") + again.count(": finished") == len(WIDTHS)
    for run in runs:
        finishes(run)
    assert max(len(ledger.read(run)) for run in runs) > 1, "none was preempted"
    assert sweep(*WIDTHS).count(": finished") == len(WIDTHS)

    assert len(jobs_in(sweep(*WIDTHS, "0.25"))) == 1
    (fifth,) = set(runs_in(tmp_path)) - set(runs)
    finishes(fifth)
    table = subprocess.run(
        [sys.executable, str(ROOT / "launch" / "runs.py"), "table", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [row["width"] for row in json.loads(table.stdout)] == [0.05, 0.1, 0.15, 0.2, 0.25]


def test_slurm_is_asked_as_often_as_benchmarks_say(
    cluster: Cluster, few_images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    line = [
        str(ROOT / "bench" / "sweep_submission.py"),
        "--runs",
        "3",
        "--out",
        str(out),
        f"data.dir={few_images}",
    ]
    subprocess.run([sys.executable, *line], env=cluster.environment, check=True, capture_output=True)
    found = json.loads(out.read_text())
    calls = {turn: {name: found[turn][name] for name in found[turn] if "," not in name} for turn in found}
    assert calls == {"first": {"scontrol": 2, "sbatch": 1}, "again": {"squeue": 1}}
    assert found["first"]["CPU, s"] > 0
    assert cluster.run("squeue", "--noheader", "--name=dnw-demo_dnw") == ""


def begins(
    cluster: Cluster, shards: Path, here: Path, fault: str = "", words: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Type the line in a folder."""
    here.mkdir(exist_ok=True)
    line = [sys.executable, str(ROOT / "launch" / "slurm.py"), *STUDY, f"data.dir={shards}", *words]
    environment = {**cluster.environment, "DNW_FAULT": fault}
    return subprocess.Popen(
        line, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ends(process: subprocess.Popen[str]) -> str:
    """Wait for its end: what it has printed."""
    try:
        printed, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    return printed


def table(here: Path) -> str:
    line = [sys.executable, str(ROOT / "launch" / "runs.py"), "study", "--csv"]
    return subprocess.run(line, cwd=here, capture_output=True, text=True, check=True).stdout


def test_a_study_that_is_killed_and_preempted(cluster: Cluster, few_images: Path, tmp_path: Path) -> None:
    """Its table is that of one that nothing happened to, and no run was submitted twice.

    In that one steps are slow after the first evaluation, so that a trial that falls behind is stopped then.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    printed = ends(begins(cluster, few_images, whole, ";".join(["0:step [23]?:SLOW"] * 4)))
    assert "trial 1: stopped early, after step 19: top1 " in printed
    (stopped,) = [run for run in runs_in(whole) if not run.result.exists()]
    (attempt,) = ledger.read(stopped)
    assert (attempt.reason, attempt.cause) == ("stopped", "cancelled"), all_logs(stopped)
    assert newest_step(stopped.checkpoints) == attempt.last_step < 40

    process = begins(cluster, few_images, broken)
    until(lambda: list(broken.glob("runs/demo_dnw/*")) and is_training(runs_in(broken)[0]), timeout_s=180)
    (run,) = runs_in(broken)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    events.preempted(cluster, run)
    until(lambda: len(ledger.read(run)) > 1, timeout_s=180)
    printed = ends(begins(cluster, few_images, broken))
    assert ledger.read(run)[0].cause == "preempted", all_logs(run)
    assert "trial 0: done" in printed
    assert "trial 0: optim.lr" not in printed, "its values were chosen again"
    assert table(broken) == table(whole)
    assert (table(whole).count(",complete,"), table(whole).count(",pruned,"), len(runs_in(broken))) == (
        1,
        1,
        2,
    )
    assert [len(list(one.slurm.glob("[0-9]*"))) for one in runs_in(broken)] == [1, 1]


def test_trials_of_a_study_share_a_job_and_one_is_stopped_alone(
    cluster: Cluster, few_images: Path, tmp_path: Path
) -> None:
    three = ["optim.lr=0.005,0.06,1e-9"]  # so far apart that no CPU's rounding changes their order
    ends(begins(cluster, few_images, tmp_path, words=[*three, "hydra.sweeper.n_trials=1"]))
    (first,) = runs_in(tmp_path)
    slow = ";".join(["0:step [23]?:SLOW"] * 4)
    printed = ends(
        begins(cluster, few_images, tmp_path, slow, [*three, "hydra.sweeper.n_trials=3", "pack=2"])
    )
    both = [run for run in runs_in(tmp_path) if run != first]
    (stopped,) = [run for run in both if not run.result.exists()]
    assert len({job_of(run) for run in both}) == 1, printed
    assert "stopped early, after step 19: top1 " in printed
    assert [[(one.reason, one.cause) for one in ledger.read(run)] for run in both if run != stopped] == [
        [("done", "done")]
    ]
    assert [(one.reason, one.cause) for one in ledger.read(stopped)] == [("stopped", "cancelled")]
