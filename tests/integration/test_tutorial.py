"""docs/tutorial.md: each of its commands, in its order, on few images."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from documents import environment, wait_for
from worker import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
README = (ROOT / "README.md").read_text()
ALONE = "python launch/local.py +exp=demo_dnw batch=64 steps=40"
SWEEP = "python launch/slurm.py -m +exp=demo_dnw batch=64 steps=40 width=0.05,0.1,0.2 cluster=local"
TENSORBOARD = "python launch/runs.py tensorboard"

# What `make test` and the test of README.md do themselves.
ELSEWHERE = [
    "make setup",
    "source .venv/bin/activate",
    "python -m shards.write fashion_mnist auto data/fashion_mnist",
]
# The others, in their order: what each prints, as a pattern.
PRINTED = [
    ("python -m shards.verify data/fashion_mnist", r"whole: 5 shards"),
    (f"{ALONE} dry_run=true", r"steps: 40\n(.|\n)*# torchrun, as launch/node/agent.py runs it"),
    (ALONE, r"stopped after step (\d+), saved(.|\n)*attempt 1 stopped on request \(SIGINT\)"),
    (ALONE, r"goes on after step \d+: attempt 2(.|\n)*done: top-1 .* %, 41\d{3} parameters"),
    (SWEEP, r"^demo_dnw/batch=64,steps=40-\w+: finished\n(.|\n)*,width=0.1-(.|\n)*,width=0.2-"),
    ("python launch/runs.py status", r",width=0.1-(.|\n)*,width=0.2-(.|\n)*,steps=40-\w+ +finished"),
    ("python launch/runs.py logs width=0.1 -f", r"begins: attempt 1(.|\n)*done: top-1"),
    (f"{SWEEP} wait=true", r"width=0.1-\w+: finished(.|\n)*width=0.2-\w+: finished|width=0.2-\w+: finished"),
    (TENSORBOARD, r"TensorBoard of 3 runs: http://127"),
    ("python launch/runs.py table", r"static x0.1 .*fashion_mnist +40 steps(.|\n)*static x0.05 .* 41\.\dk"),
    ("python launch/runs.py compare steps=40- width=0.1 width=0.2", r"width +0.05 +0.1 +0.2"),
    ("python -m dnw.evaluate runs/demo_dnw/*width=0.2*", r"at step 40: top-1 .* over 50 images"),
]


def shown() -> list[str]:
    """The commands in indented blocks."""
    return re.findall(r"^    ((?:python|make|source) .*)$", TUTORIAL, re.MULTILINE)


@pytest.fixture
def clone(tmp_path: Path, some_images: Path) -> Path:
    """A folder in which everything is where the tutorial has it."""
    for path in ROOT.iterdir():
        if path.name in {"configs", "dnw", "hydra_plugins", "launch", "shards"}:
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fashion_mnist").symlink_to(some_images)
    return tmp_path


def typed(command: str, clone: Path, interrupted_at: str = "") -> str:
    """What a command prints that a shell is given; with Ctrl-C as soon as it has printed something."""
    out = clone / "printed"
    with (
        out.open("w") as file,
        subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=clone, env=environment(), stdout=file, stderr=file
        ) as process,
    ):
        try:
            if interrupted_at:
                wait_for(lambda: interrupted_at in out.read_text() or process.poll() is not None)
                process.send_signal(signal.SIGINT)
            process.wait(timeout=200)
        finally:
            process.kill()
    is_saved = interrupted_at.startswith("step")
    assert process.returncode == (75 if is_saved else 0), f"{command}\n{out.read_text()}"
    return out.read_text()


def test_each_command_in_its_order(clone: Path) -> None:
    assert shown() == [*ELSEWHERE, *(command for command, _ in PRINTED)]
    assert ELSEWHERE[-1] in README
    for number, (command, pattern) in enumerate(PRINTED):
        is_first = command not in [before for before, _ in PRINTED[:number]]
        interrupted_at = {ALONE: "step 10/40" if is_first else "", TENSORBOARD: "Ctrl-C ends it"}
        printed = typed(command, clone, interrupted_at.get(command, ""))
        assert re.search(pattern, printed, re.MULTILINE), f"{command}\n{printed}"
        assert "Traceback" not in printed
