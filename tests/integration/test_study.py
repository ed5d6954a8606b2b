"""docs/study.md: its commands, and that the study goes on when it was killed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from documents import dry_run, environment, forked, typed, wait_for
from worker import ROOT

STUDY = (ROOT / "docs" / "study.md").read_text()
SHOWN = re.findall(r"^    (python bench/wirings.py .*)$", STUDY, re.MULTILINE)
SHORT = "python bench/wirings.py --study --networks static --only random,dnw --rates 0.01 --steps 2 --seeds 1"


def test_each_command_stands_for_lines_of_the_launcher(tmp_path: Path, few_images: Path) -> None:
    assert SHORT in SHOWN
    for command in {*SHOWN, "python bench/wirings.py --study"} - {SHORT}:
        images = f"--images={few_images}"
        lines = forked(command, "--list", images, f"runs_dir={tmp_path}").stdout.splitlines()
        assert lines
        script = "slurm" if "--slurm" in command else "local"
        assert all(line.startswith(f"python launch/{script}.py -m +exp=") for line in lines)
        if command.endswith("cluster.partition=cpu"):
            assert "#SBATCH --partition=cpu" in dry_run(next(line for line in lines if "swaps" in line))


def test_killed_and_typed_again_it_trains_what_is_left(tmp_path: Path, few_images: Path) -> None:
    line = f"{SHORT} --images {few_images} --out {tmp_path / 'study'} runs_dir={tmp_path / 'runs'}"
    with subprocess.Popen(
        [sys.executable, *shlex.split(line)[1:]],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as first:
        wait_for(lambda: list(tmp_path.glob("runs/*/*/metrics.jsonl")), 240)
        os.killpg(first.pid, signal.SIGKILL)  # it, and the launcher that it has started
    results = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/result.json")}
    assert len(results) < 2
    done = typed(line)
    assert "2 of 2 runs" in done.stderr
    assert "| random | 0.01 |" in done.stdout
    assert (tmp_path / "study.md").read_text() == done.stdout
    found = json.loads((tmp_path / "study.json").read_text())
    assert [one["wiring"] for one in found] == ["random", "dnw"]
    assert all(0 <= one["held_out"] <= 100 and one["steps"] == 2 for one in found)
    assert results == {path: path.stat().st_mtime_ns for path in results}
