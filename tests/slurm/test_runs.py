"""launch/runs.py on a real Slurm: what it shows of runs, and what becomes of those that it stops."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run
from slurm.cluster import Cluster
from slurm.job import accounts, fields, state, submit, until

pytestmark = pytest.mark.xdist_group("slurm commands")
ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    *["+exp=demo_dnw", "nodes=2", "nproc=1", "cluster=slurm", "cluster.partition=low"],
    *["batch=16", "micro_batch=8", "steps=100000", "data.workers=0", "log.every_steps=1"],
]
COUNTED = """#!/bin/sh
echo "${{0##*/}}" >>{calls}
exec {bin}/${{0##*/}} "$@"
"""


class Desk:
    """A folder of runs, and the commands that one types there."""

    def __init__(self, cluster: Cluster, shards: Path, here: Path) -> None:
        self.cluster, self.shards, self.here = cluster, shards, here
        self.calls = here / "calls"

    def typed(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Types a command of launch/; calls of squeue and sacct are counted."""
        (self.here / "bin").mkdir(exist_ok=True)
        for name in ("squeue", "sacct"):
            path = self.here / "bin" / name
            path.write_text(COUNTED.format(calls=self.calls, bin=self.cluster.folder / "bin"))
            path.chmod(0o755)
        environment = self.cluster.environment
        environment["PATH"] = f"{self.here}/bin{os.pathsep}{environment['PATH']}"
        return subprocess.run(
            [sys.executable, str(ROOT / "launch" / script), *words],
            cwd=self.here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *words: str) -> Run:
        """Submits a run."""
        before = set(self.here.glob("runs/demo_dnw/*"))
        done = self.typed("slurm.py", *WORDS, f"data.dir={self.shards}", *words)
        assert done.returncode == 0, done.stderr
        (folder,) = set(self.here.glob("runs/demo_dnw/*")) - before
        return Run(folder)

    def status(self) -> dict[str, dict[str, Any]]:
        """What `status --json` says, by folder; it asks Slurm once."""
        self.calls.unlink(missing_ok=True)
        done = self.typed("runs.py", "status", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        asked = self.calls.read_text().split()
        assert asked.count("squeue") <= 2  # jobs, and places in the queue where one waits
        assert asked.count("sacct") <= 1
        return {row["folder"]: row for row in json.loads(done.stdout)}


def job_of(run: Run) -> str:
    return str(json.loads(run.launch.read_text())["job"])


def has_done_steps(run: Run) -> bool:
    last = ledger.last(run)
    return last is not None and last.step is not None


@pytest.fixture(scope="module")
def desk(cluster: Cluster, few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(cluster, few_images, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def running(desk: Desk) -> Run:
    """A run at work on two nodes."""
    run = desk.start("seed=1")
    until(lambda: has_done_steps(run))
    return run


def test_status_of_a_running_run_and_a_queued_one(desk: Desk, running: Run) -> None:
    blocker = submit(desk.cluster, "sleep 1000", "--nodes=3", "--exclusive")
    queued = desk.start("seed=2")
    try:
        until(lambda: fields(desk.cluster, job_of(queued))["Reason"] in {"Priority", "Resources"})
        rows = desk.status()
        first, second = rows[str(running.folder)], rows[str(queued.folder)]
        assert (first["state"], first["job"]) == ("running", job_of(running))
        assert first["nodes"] == "n[1-2]"
        assert first["step"] > 0
        assert (second["state"], second["nodes"], second["attempts"]) == ("queued", "2", 0)
        place = second["place"]
        assert 0 <= place["ahead"] < place["waiting"]
        table = desk.typed("runs.py", "status", "--energy").stdout
        assert f"queued ({second['reason']}, {place['ahead'] + 1} of {place['waiting']}" in table
        assert "known" not in table  # squeue and sacct have understood what they were asked
    finally:
        desk.cluster.run("scancel", blocker)
        done = desk.typed("runs.py", "cancel", "seed=2", "--now")
    assert done.returncode == 0, done.stderr
    row = desk.status()[str(queued.folder)]
    assert row["state"] in {"stopped", "failed"}


def test_logs_of_two_nodes_as_one(desk: Desk, running: Run) -> None:
    lines = desk.typed("runs.py", "logs", "seed=1", "--lines", "0").stdout.splitlines()
    assert "logs/001-0.log, logs/001-1.log" in lines[0]
    assert {line.partition(" | ")[0] for line in lines[1:]} == {"n1", "n2"}
    assert "step 1/100000" in "\n".join(lines)


def test_a_drill_from_signal_to_first_step(desk: Desk, running: Run) -> None:
    done = desk.typed("runs.py", "drill", "seed=1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(done.stdout)
    first, second = (one for one in ledger.read(running) if one.number in told["attempts"])
    assert first.reason == "stopped"
    assert told["step_resumed"] == second.first_step == first.last_step
    assert told["steps_lost"] == 0
    assert told["holds"] is True
    assert sorted(told["deadlines_s"].values()) == [120, 200]  # of a clock ten times as fast
    parts = [
        told[f"{name}_s"] for name in ("saving", "leaving", "waiting", "claiming", "loading", "first_step")
    ]
    assert sum(parts) == pytest.approx(told["total_s"], abs=1.5)
    assert told["waited_for"]


def test_cancelled_it_has_saved(desk: Desk, running: Run) -> None:
    done = desk.typed("runs.py", "cancel", "seed=1")
    assert done.returncode == 0, done.stderr
    last = ledger.last(running)
    assert last is not None
    assert last.reason == "stopped"
    assert f"saved after step {last.last_step}," in done.stdout
    assert state(desk.cluster, job_of(running)) == "CANCELLED"
    row = desk.status()[str(running.folder)]
    assert (row["state"], row["ended"], row["step"]) == ("stopped", "cancelled", last.last_step)
    assert "not at work (stopped, cancelled)" in desk.typed("runs.py", "cancel", "seed=1").stdout


def test_killed_it_has_saved_nothing(desk: Desk) -> None:
    run = desk.start("seed=3", "nodes=1")
    until(lambda: has_done_steps(run))
    begun = time.monotonic()
    done = desk.typed("runs.py", "cancel", "seed=3", "--now")
    print(f"gone after {time.monotonic() - begun:.1f} s")
    assert done.returncode == 0, done.stderr
    last = ledger.last(run)
    assert last is not None
    assert last.end is None
    until(lambda: accounts(desk.cluster, job_of(run))[0].split()[0] in {"FAILED", "CANCELLED"})
    assert desk.status()[str(run.folder)]["state"] == "failed"
