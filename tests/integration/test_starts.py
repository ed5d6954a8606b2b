"""Two who type the same line at one moment: one wins, the other is told. Real commands, real runs."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnw.runs import ledger
from dnw.runs.folder import Run

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["+exp=static_dnw", "data=fashion_mnist", "optim=medium", "batch=16", "micro_batch=8", "threads=1"]
QUICK = ["steps=1", "data.workers=0", "eval_every_epochs=1"]
APART_S = 1.0  # at most, between the two starts


def both(script: str, shards: Path, here: Path, apart_s: float, *words: str) -> list[tuple[int, str, str]]:
    """Type a line twice, that long after one another: exit code, stdout and stderr of each."""
    line = [sys.executable, str(ROOT / "launch" / script), *WORDS, *QUICK, f"data.dir={shards}", *words]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(line, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = start()
    time.sleep(apart_s)
    answers = []
    for process in (first, start()):
        out, err = process.communicate(timeout=300)
        answers.append((process.returncode, out, err))
    return answers


def seed() -> int:
    chosen = int(os.environ.get("DNW_SOAK_SEED") or time.time())
    print(f"DNW_SOAK_SEED={chosen}")
    return chosen


def the_only_run(here: Path) -> Run:
    """The run, beside which there is nothing: no lock, no half-made folder."""
    (folder,) = (here / "runs" / "static_dnw").iterdir()
    return Run(folder)


def started_in_the_foreground(shards: Path, here: Path, apart_s: float, *words: str) -> None:
    answers = both("local.py", shards, here, apart_s, *words)
    run = the_only_run(here)
    (attempt,) = ledger.read(run)
    assert attempt.reason == "done", answers
    told = [(code, out + err) for code, out, err in answers if "Ctrl-C saves and stops" not in out]
    assert len(told) == 1, answers
    ((code, said),) = told
    if "fresh=true" in words:
        assert (code, "is running (attempt 1" in said or "is running (an attempt" in said) == (2, True), said
    else:
        assert (code, ": running, a" in said or ": finished" in said) == (0, True), said


def started_in_the_background(shards: Path, here: Path, apart_s: float) -> None:
    answers = both("slurm.py", shards, here, apart_s, "cluster=local")
    assert [code for code, _, _ in answers] == [0, 0], answers
    run = the_only_run(here)
    assert sum("job     " in out for _, out, _ in answers) == 1, answers
    assert any(f"{run.name}: " in out for _, out, _ in answers), answers  # the other was told
    deadline = time.monotonic() + 300
    while not run.result.exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [path.name for path in run.slurm.iterdir()] == ["1"]
    assert len(ledger.read(run)) == 1


@pytest.mark.parametrize("words", [[], ["fresh=true"]], ids=["again", "fresh"])
def test_two_starts_in_the_foreground(few_images: Path, tmp_path: Path, words: list[str]) -> None:
    """With fresh=true at one moment, so that the loser doesn't come when all is over."""
    apart_s = 0.0 if words else random.Random(seed()).uniform(0, APART_S)
    started_in_the_foreground(few_images, tmp_path, apart_s, *words)


def test_two_starts_in_the_background(few_images: Path, tmp_path: Path) -> None:
    started_in_the_background(few_images, tmp_path, random.Random(seed()).uniform(0, APART_S))


@pytest.mark.soak
@pytest.mark.timeout(6000)
def test_fifty_starts(few_images: Path, tmp_path: Path) -> None:
    draw = random.Random(seed())
    for number in range(50):
        here = tmp_path / str(number)
        here.mkdir()
        apart_s = draw.uniform(0, APART_S)
        start = started_in_the_background if number % 2 else started_in_the_foreground
        print(f"{number}: {start.__name__}, {apart_s:.3f} s apart")
        start(few_images, here, apart_s)
