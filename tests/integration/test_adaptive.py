"""docs/adaptive.md: each of its commands, on few images; and a study here that is killed on its way."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from documents import dry_run, environment, typed, wait_for
from worker import ROOT

PAGE = (ROOT / "docs" / "adaptive.md").read_text()
SMALL = ["batch=32", "micro_batch=8", "data.workers=0", "steps=8", "hydra.sweeper.n_trials=2"]


def shown() -> list[str]:
    """The commands in indented blocks."""
    return re.findall(r"^    (python .*)$", PAGE, re.MULTILINE)


@pytest.mark.xdist_group("adaptive")
def test_its_commands_in_their_order(few_images: Path, tmp_path: Path) -> None:
    runs, front = tmp_path / "runs", tmp_path / "pareto.png"
    local, slurm, table, as_csv, plot, packed = shown()
    few = [f"data.dir={few_images}", f"runs_dir={runs}"]

    line = [*shlex.split(local), *SMALL, *few]
    process = subprocess.Popen(line, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: list(runs.glob("demo_dnw/*/attempts.jsonl")))
    finally:
        process.kill()
        process.wait()
    assert not list(runs.glob("demo_dnw/*/result.json"))
    (first,) = runs.glob("demo_dnw/*/config.yaml")
    printed = typed(local, *SMALL, *few).stdout
    assert "trial 0: done, top1 " in printed
    assert "trial 1: done, top1 " in printed
    assert first in list(runs.glob("demo_dnw/*/config.yaml"))
    assert len(list(runs.glob("demo_dnw/*/result.json"))) == 2
    assert list(runs.glob("demo_dnw-study-*/pareto.png"))

    printed = dry_run(slurm, *few, "data.classes=10")
    assert "20, 4 at once" in printed
    assert "#SBATCH --nodes=2" in printed
    printed = dry_run(packed, *few)
    assert "20, 2 jobs of up to 4 at once" in printed
    assert "the memory of its trials, up to 4" in printed
    among = f"--runs-dir={runs}"
    assert " complete " in typed(table, among).stdout
    assert len(typed(as_csv, among).stdout.splitlines()) == 3
    typed(plot.replace("pareto.png", str(front)), among)
    assert front.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(typed(table, among, "--json").stdout)
    assert [row["trial"] for row in rows] == [0, 1]
    assert any(row["is_best"] for row in rows)
