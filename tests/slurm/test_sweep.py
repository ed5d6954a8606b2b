"""A sweep on a real Slurm: preempted on its way it ends in a table, typed again it submits what is left."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm import events
from slurm.cluster import Cluster
from slurm.events import ROOT, finishes, job_of, steps, typed
from slurm.job import until

pytestmark = pytest.mark.xdist_group("slurm runs")
WIDTHS = ("0.05", "0.1", "0.15", "0.2")
ONE_EACH = ("nodes=1", "nproc=1", "steps=12", "hydra.launcher.array_parallelism=3")


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
