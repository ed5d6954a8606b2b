"""The table of runs and its JSON."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from run_folder import Slurm, log, make, note, slurm, submit

from dnw.runs.folder import Run
from launch.commands import status
from launch.commands.status import duration, table
from launch.query.run_table import rows

NOW = time.time()
Told = Callable[[Run, Slurm], Any]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return slurm(tmp_path, monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make(tmp_path / "runs")


def queue(run: Run, state: str, reason: str, nodes: str = "", job: str = "7") -> str:
    return f"{job}|{state}|{reason}|{nodes}|low|{NOW:.0f}|{NOW:.0f}|{run.slurm}/1/job.sh\n"


def printed(runs: list[Run], capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    status.show(lambda: runs, **{"as_json": False, "watch_s": None, **options})
    return capsys.readouterr().out


def test_the_table(run: Run, cluster: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    submit(run, "7", at=time.time() - 200)
    note(run, 1, "claim", time.time() - 190, job="7", restart=0, host="n1", hosts=["n1"], pid=1)
    log(run, 6)
    cluster.says("squeue", queue(run, "RUNNING", "None", "n[1-2]"))
    line = next(line for line in printed([run], capsys).splitlines() if line.startswith(f" {run.name}"))
    words = r"running +7 +n\[1-2\] +6/10 +0.60 +1.5000 +40.00 +- +64 +2 s +0% +0.1 +1 +- +3 min \d+ s ago"
    assert re.search(words, line), line
    assert printed([], capsys).strip() == "no runs"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200])
def test_a_narrow_table_does_without_columns(run: Run, cluster: Slurm, width: int) -> None:
    submit(run, "7", at=NOW - 200)
    log(run, 6)
    cluster.says("squeue", queue(run, "PENDING", "Resources"))
    shown, left_out = table(rows([run])[0], width)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(shown)
    text = captured.get()
    assert "6/10" in text
    assert "queued (Resources)" in text
    assert "40.00" in text
    assert ("Epoch" in left_out) == (width < 200)
    assert max(map(len, text.splitlines())) <= width


def test_json(run: Run, cluster: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    submit(run, "7", at=NOW - 60)
    cluster.says("squeue", queue(run, "PENDING", "Priority"))
    (found,) = json.loads(printed([run], capsys, as_json=True))
    assert (found["run"], found["folder"]) == (run.name, str(run.folder))
    assert (found["state"], found["reason"], found["total"], found["left_s"]) == (
        "queued",
        "Priority",
        10,
        None,
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
        (864000, "10 d"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_no_torch_and_little_else(run: Run) -> None:
    """A table of runs is looked at often."""
    root = Path(__file__).resolve().parents[4]
    script = (
        "import sys; sys.argv[0] = sys.argv[1]; sys.path.insert(0, ''); from launch import runs; "
        "runs.main(['status', '--runs-dir', sys.argv[2]]); "
        "print(sorted({'torch', 'hydra', 'submitit', 'numpy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", script, str(root / "launch" / "runs.py"), str(run.folder.parent.parent)]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


AS_ANY_USER = ["setpriv", *(f"--{of}=-dac_override,-dac_read_search" for of in ("bounding-set", "inh-caps"))]
BOTH = "import sys; from launch import runs; [runs.main([one, *sys.argv[1:]]) for one in ('status', 'table')]"


def test_folders_of_others_hide_no_runs(tmp_path: Path) -> None:
    """In a folder that a group shares."""
    make(tmp_path, "mine-0123456789")
    locked = make(tmp_path, "theirs-0123456789")
    locked.folder.chmod(0)
    words = [
        *(AS_ANY_USER if os.geteuid() == 0 else []),
        sys.executable,
        "-c",
        BOTH,
        f"--runs-dir={tmp_path}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    locked.folder.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert re.search(r"mine-0123456789 +ready .*\n.*theirs-0123456789 +unreadable ", done.stdout)
    assert f"{locked.name}: {locked.config}: Permission denied" in done.stdout
    assert f"left out: {locked.result}: Permission denied\nnot finished, so left out: 1; " in done.stderr
