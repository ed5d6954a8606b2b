"""Runs that begin once others are done, on a real Slurm: these fail, are requeued, go on as another job."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from launch.node.timeouts import LOOK_S
from slurm.cluster import Cluster
from slurm.events import ROOT, all_logs, finishes, is_training, job_of, steps
from slurm.job import fields, state, until

pytestmark = pytest.mark.xdist_group("slurm runs")
FEW = ["nproc=1", "cluster.partition=low", "batch=16", "micro_batch=8", "data.workers=0"]
WORDS = ["+exp=demo_dnw", *FEW]
STAGES = ("cifar_complete", "cifar_fine_tune", "cifar_one_shot")
LATER = "cluster.additional_parameters={begin: now+9days}"


class Typing:
    """Types commands on the login node."""

    def __init__(self, cluster: Cluster, shards: Path, here: Path) -> None:
        self.cluster, self.shards, self.here = cluster, shards, here

    def __call__(
        self, *words: str, script: str = "slurm.py", first: Sequence[str] = WORDS, fault: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Submit, with more words."""
        given = [*first, f"data.dir={self.shards}", *words] if script == "slurm.py" else words
        return subprocess.run(
            [sys.executable, str(ROOT / "launch" / script), *given],
            cwd=self.here,
            env={**self.cluster.environment, "DNW_FAULT": fault},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def run(self, *words: str) -> Run:
        """The run that is submitted."""
        before = set(self.here.glob("runs/demo_dnw/*"))
        done = self(*words)
        assert done.returncode == 0, done.stderr
        (made,) = set(self.here.glob("runs/demo_dnw/*")) - before
        return Run(made)

    def status(self, run: Run) -> dict[str, Any]:
        """What status says of a run."""
        done = self("status", "--json", run.name, script="runs.py")
        (row,) = json.loads(done.stdout)
        return dict(row)


@pytest.fixture
def typed(cluster: Cluster, few_images: Path, tmp_path: Path) -> Iterator[Typing]:
    yield Typing(cluster, few_images, tmp_path)
    names = ",".join(f"dnw-{exp}" for exp in ("demo_dnw", *STAGES))
    cluster.run("scancel", f"--name={names}")
    until(lambda: not cluster.run("squeue", "--noheader", f"--name={names}"))


def test_one_that_will_not_be_done(cluster: Cluster, typed: Typing) -> None:
    """It is told in status and in the ledger, and nothing waits for ever."""
    first = typed.run("seed=1", LATER)
    told = typed.here / "told.jsonl"
    second = typed.run("seed=2", "after=seed=1", f'notify.command="cat >> {told}"')
    third = typed.run("seed=3", 'after=["seed=2","seed=1"]')
    assert fields(cluster, job_of(third))["Dependency"].count("afterany") == 2
    row = typed.status(second)
    assert (row["state"], row["reason"]) == ("queued", f"after {first.name}")
    assert f"queued, job {job_of(second)} on slurm" in typed("seed=2", "after=seed=1").stdout
    cluster.run("scancel", job_of(first))
    until(lambda: state(cluster, job_of(third)) == "FAILED")
    said = f"{first.name} was stopped (cancelled); once that is mended, type the command of both again"
    (attempt,) = ledger.read(second)
    assert attempt.end is not None
    assert (attempt.reason, attempt.end["detail"]) == ("dependency", said), all_logs(second)
    (notice,) = map(json.loads, told.read_text().splitlines())
    assert (notice["event"], notice["run"], notice["detail"]) == ("not begun", second.name, said)
    row = typed.status(second)
    assert (row["state"], row["ended"]) == ("failed", f"dependency: {said}")
    again = typed("seed=2", "after=seed=1")
    assert again.returncode == 2
    assert again.stderr == (
        f"after: {first.name} was stopped (cancelled); type its command again, then this one\n"
    )


def test_one_that_goes_on_as_another_job(cluster: Cluster, typed: Typing) -> None:
    """What waits for it waits again, for that job, without an attempt; then it begins, once."""
    words = ["seed=4", "steps=2"]
    first = typed.run(*words, LATER)
    second = typed.run("seed=5", "steps=2", "after=seed=4")
    cluster.run("scontrol", "hold", job_of(second))
    cluster.run("scancel", job_of(first))
    until(lambda: state(cluster, job_of(first)) == "CANCELLED")
    assert typed(*words, LATER).returncode == 0
    cluster.run("scontrol", "release", job_of(second))
    until(lambda: job_of(first) in fields(cluster, job_of(second))["Dependency"])
    assert (typed.status(second)["state"], ledger.read(second)) == ("queued", [])
    cluster.run("scontrol", "update", f"JobId={job_of(first)}", "StartTime=now")
    finishes(second)
    (attempt,) = ledger.read(second)
    assert attempt.claim is not None
    assert attempt.claim["restart"] >= 1
    assert attempt.claim["time"] >= first.result.stat().st_mtime


IMAGES = [
    "data=fashion_mnist",
    "model.small=true",
    "steps=6",
    "checkpoint.every_steps=1",
    "log.every_steps=1",
]


def stages(typed: Typing, *words: str) -> list[Run]:
    """The runs of the line of the documents, in the order of STAGES; each waits at its step 3."""
    line = ["-m", f"+exp={','.join(STAGES)}", *FEW, *IMAGES]
    done = typed(*words, first=line, fault=f"0:step 3:SLOW:1:{typed.here / 'go'}")
    assert done.returncode == 0, done.stderr
    return [Run(path) for exp in STAGES for path in sorted((typed.here / "runs" / exp).glob("[!.]*"))]


def test_the_line_of_the_documents(cluster: Cluster, typed: Typing) -> None:
    """Its first run is requeued once; the others begin when it is done, with what it has made."""
    first, *others = stages(typed)
    until(lambda: is_training(first) and steps(first) >= 2, timeout_s=180)
    assert [typed.status(run)["reason"] for run in others] == [f"after {first.name}"] * 2
    cluster.run("scontrol", "requeue", job_of(first))
    (typed.here / "go").touch()
    for run in (first, *others):
        finishes(run, timeout_s=300)
    causes = [[one.cause for one in ledger.read(run)] for run in (first, *others)]
    assert causes == [["requeued", "done"], ["done"], ["done"]], all_logs(first)
    for run in others:
        (attempt,) = ledger.read(run)
        assert attempt.claim is not None
        assert attempt.claim["time"] >= first.result.stat().st_mtime


def test_the_same_in_shared_jobs_of_which_one_is_cancelled(cluster: Cluster, typed: Typing) -> None:
    """What waits for that one is told so, and keeps what shares its job from nothing."""
    one, other, *later = stages(typed, "seed=1,2", "pack=4")
    first, second = job_of(one), job_of(later[0])
    assert [job_of(run) for run in (other, *later)] == [first, *[second] * 4]
    assert fields(cluster, second)["Dependency"].startswith(f"afterany:{first}(")
    until(lambda: is_training(one) and is_training(other), timeout_s=180)
    typed("cancel", other.name, "--no-wait", script="runs.py")
    time.sleep(3 * LOOK_S)  # its job has looked by then
    (typed.here / "go").touch()
    finishes(one, timeout_s=300)
    of_one, of_other = ([run for run in later if seed in run.name] for seed in ("seed=1", "seed=2"))
    for run in of_one:
        finishes(run, timeout_s=300)
        assert [attempt.reason for attempt in ledger.read(run)] == ["done"]
    for run in of_other:
        row = typed.status(run)
        said = f"{other.name} was stopped (cancelled); once that is mended, type the command of both again"
        assert (row["state"], row["ended"]) == ("failed", f"dependency: {said}"), all_logs(run)
    assert len({attempt.job for run in of_one for attempt in ledger.read(run)}) == 1
