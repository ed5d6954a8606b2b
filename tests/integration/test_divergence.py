"""Runs that are made to diverge: where they end, what they leave, what they say, and how they go on."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from worker import ROOT, losses, prepare, train

from dnw.runs import divergence, jsonl, ledger
from dnw.runs.folder import Run, step_path, steps
from dnw.training import checkpoint
from dnw.training.finite import is_healthy
from launch.query.run_status import query_status

# The 5th of 12 steps is done at a rate of 1e29: the loss of the 6th is the first that isn't finite.
DIVERGING = {
    "steps": 12,
    "optim__schedule": "multistep",
    "optim__milestones": [4 / (120 / 32)],
    "optim__gamma": 1e30,
}
BY_LOSS = {"log__every_steps": 4, "checkpoint__every_steps": 2}  # 8; 4 is the last healthy one, and 6 isn't
BY_CHECKPOINT = {"log__every_steps": 100, "checkpoint__every_steps": 2}
RARE: dict[str, Any] = {"log__every_steps": 100, "checkpoint__every_minutes": 0, "checkpoint__every_steps": 0}


def _poisoned(
    folder: Path, shards: Path, nproc: int, poison: str, rank: str = "", **changes: Any
) -> tuple[Run, str, int]:
    """A run in which a value of a kind becomes inf or nan in a step, on one rank or all."""
    run = prepare(folder / "example" / "default-0123456789", shards, **changes)
    where = {"POISONED_RANK": rank} if rank else {}
    code, said = train(run, nproc, worker="workers.poisoned", POISON=poison, **where)
    return run, said, code


def _end(run: Run) -> dict[str, Any]:
    last = ledger.last(run)
    assert last is not None
    assert last.end is not None
    assert last.reason == "diverged"
    assert not run.result.exists()
    for path in run.checkpoints.glob("*.pt"):
        assert is_healthy(checkpoint.read(path), frozenset()), path
    return last.end


def _made_to_diverge(folder: Path, shards: Path, nproc: int, **changes: Any) -> tuple[Run, str]:
    run = prepare(folder / "example" / "default-0123456789", shards, **DIVERGING | changes)
    code, said = train(run, nproc)
    assert code == 1, said
    return run, said


def _check(run: Run, said: str, nproc: int, what: str = "the loss") -> dict[str, Any]:
    """What holds of every diverged run; its end in the ledger."""
    end, last = _end(run), ledger.last(run)
    assert last is not None
    ((status,), _) = query_status([run])
    assert (status.state, status.why) == ("diverged", f"diverged: {end['detail']}")
    assert said.count(divergence.message(run, last)) == 1
    assert "Traceback" not in said
    assert f"diverged: {what} of step 6 is not finite, learning rate 1e+29" in said
    found = end["diverged"]
    assert (found["step"], found["rate"]) == (6, pytest.approx(1e29))
    assert 0 <= found["rank"] < nproc
    return end


@pytest.mark.parametrize(("nproc", "precision"), [(1, "fp32"), (2, "bf16")])
def test_a_loss_that_is_not_finite_ends_the_run_at_the_log_interval(
    tmp_path: Path, few_images: Path, nproc: int, precision: str
) -> None:
    changes = BY_LOSS | {"checkpoint__every_steps": 4, "precision": precision}
    run, said = _made_to_diverge(tmp_path, few_images, nproc, **changes)
    end = _check(run, said, nproc)
    assert end["step"] == 8
    assert steps(run.checkpoints) == [4]
    assert f"last healthy checkpoint: step 4, {step_path(run.checkpoints, 4)}" in said
    assert "first value that isn't finite: " in said
    assert "what helps: a lower optim.lr than 0.1, with fresh=true" in said
    assert set(losses(run)) == {4, 8}
    assert losses(run)[8] is None  # JSON has no nan
    (line,) = [line for line in jsonl.read(run.metrics) if line["kind"] == "run"]
    assert line["told"] in said
    board = EventAccumulator(str(run.tensorboard)).Reload()
    assert [event.step for event in board.Scalars("run/diverged")] == [8]
    assert "run/divergence/text_summary" in board.Tags()["tensors"]


@pytest.mark.parametrize("nproc", [1, 2])
def test_a_state_that_is_not_finite_is_not_published_and_ends_the_run(
    tmp_path: Path, few_images: Path, nproc: int
) -> None:
    run, said = _made_to_diverge(tmp_path, few_images, nproc, **BY_CHECKPOINT)
    end = _check(run, said, nproc)
    assert 6 <= end["step"] <= 8
    assert steps(run.checkpoints) == [2, 4]


def test_a_diverged_run_is_not_trained_again_by_hand(tmp_path: Path, few_images: Path) -> None:
    run, _ = _made_to_diverge(tmp_path, few_images, 1, **BY_CHECKPOINT)
    command = [sys.executable, "-m", "dnw.train", str(run.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = ledger.last(run)
    assert last is not None
    assert done.stderr.strip() == divergence.message(run, last)
    assert [attempt.number for attempt in ledger.read(run)] == [last.number]


@pytest.mark.parametrize("poison", ["weight 6", "statistics 6", "momentum 6"])
def test_the_last_state_of_a_run_is_checked_before_it_is_done(
    tmp_path: Path, few_images: Path, poison: str
) -> None:
    """The losses were finite, and no checkpoint came along since."""
    run, said, code = _poisoned(tmp_path, few_images, 1, poison, **RARE, steps=6, eval_every_epochs=100)
    assert code != 0
    end = _end(run)["diverged"]
    assert end["step"] == 6
    layer = "downsample.1 (running statistics)" if poison.startswith("stat") else "downsample.0 (weight)"
    assert end["layer"] == layer
    assert "last healthy checkpoint: step 0, " in said


def test_an_infinite_gradient_of_one_rank_ends_both(tmp_path: Path, few_images: Path) -> None:
    changes: dict[str, Any] = {
        "log__every_steps": 2,
        "steps": 40,
        "checkpoint__every_steps": 1,
        "checkpoint__keep": 2,
    }
    run, said, code = _poisoned(tmp_path, few_images, 2, "gradient 5", rank="1", **changes)
    assert code != 0
    assert _end(run)["diverged"]["step"] in {5, 6}
    assert steps(run.checkpoints)[-1] in {4, 5}
    assert said.count("diverged: ") == 1


def test_a_loss_that_was_infinite_once_ends_the_run_though_its_weights_are_finite(
    tmp_path: Path, few_images: Path
) -> None:
    """A checkpoint within that log interval would have the sum of its losses: none is published."""
    changes: dict[str, Any] = {"log__every_steps": 8, "steps": 16, "checkpoint__every_steps": 1}
    run, said, code = _poisoned(tmp_path, few_images, 2, "loss 5", rank="1", **changes)
    assert code != 0
    end = _end(run)["diverged"]
    assert (end["step"], end["what"], end["rank"], end["layer"]) == (5, "the loss", 1, "")
    assert "rank 1; weights, momentum and running statistics are finite" in said
    assert steps(run.checkpoints)[-1] == 4


def test_an_evaluation_alone_is_told_and_is_no_best(tmp_path: Path, few_images: Path) -> None:
    run, said, code = _poisoned(tmp_path, few_images, 2, "evaluation 5", steps=10)
    assert code != 0
    end = _end(run)["diverged"]
    assert (end["step"], end["what"], end["layer"]) == (10, "the validation loss", "")
    assert said.count("step 8: the validation loss is not finite, weights and running") == 1
    assert checkpoint.read(run.checkpoints / "best.pt").position.step == 4


def test_an_exception_that_a_diverged_state_brought_about_is_told_as_that(
    tmp_path: Path, few_images: Path
) -> None:
    run, said, code = _poisoned(tmp_path, few_images, 1, "exception 6", **RARE)
    assert code != 0
    assert _end(run)["diverged"]["cause"] == "AssertionError: underflow in dt nan"
    assert "a weight or statistic of step 6 is not finite, learning rate " in said
    assert "(AssertionError: underflow in dt nan)" in said


def _type(command: str) -> subprocess.CompletedProcess[str]:
    """Type a command as a message gives it."""
    words = shlex.split(command)
    assert words[0] == "python"
    return subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_remedy_that_is_named_works(tmp_path: Path, few_images: Path) -> None:
    told = tmp_path / "told"
    words = [f"data.dir={few_images}", f"runs_dir={tmp_path / 'runs'}", "nproc=2", "data.workers=0"]
    words += ["batch=32", "micro_batch=8", "steps=6", "log.every_steps=2", "checkpoint.every_steps=1"]
    words += ["precision=bf16", f"'notify.command=\"cat >{told}\"'", "error_retries=3"]
    line = f"python launch/local.py +exp=demo_dnw {' '.join(words)} optim.lr=1e30"
    first = _type(line)
    assert first.returncode == divergence.DIVERGED, first.stderr
    (folder,) = (tmp_path / "runs" / "demo_dnw").iterdir()
    run = Run(folder)
    assert [attempt.reason for attempt in ledger.read(run)] == ["diverged"]  # whatever error_retries says
    notice = json.loads(told.read_text())
    assert (notice["event"], notice["reason"]) == ("diverged", "diverged")
    assert notice["detail"] in first.stderr

    again = _type(line)
    assert again.returncode == divergence.DIVERGED
    assert again.stderr.strip() == notice["detail"]
    assert len(ledger.read(run)) == 1

    lower, resumed = [text.strip() for text in again.stderr.splitlines() if "python launch/" in text]
    done = _type(lower)
    assert done.returncode == 0, done.stderr
    results = list((tmp_path / "runs" / "demo_dnw").glob("*/result.json"))
    assert len(results) == 1
    assert "optim.lr=0.1" in results[0].parent.name

    went_on = _type(resumed)
    assert went_on.returncode == divergence.DIVERGED  # as the same steps give the same
    assert [attempt.first_step for attempt in ledger.read(run)] == [0, 1]


@pytest.mark.parametrize("network", ["static_random", "cifar_dnw", "cifar_mobilenet_v1"])
def test_in_the_background_other_networks_end_alike(tmp_path: Path, few_images: Path, network: str) -> None:
    """A fixed wiring, a MobileNetV1-like one that is discovered, and a dense network."""
    words = (
        f"data=fashion_mnist data.dir={few_images} runs_dir={tmp_path} data.workers=0 batch=20 micro_batch=10"
    )
    line = f"python launch/slurm.py +exp={network} {words} steps=4 log.every_steps=1 checkpoint.every_steps=1"
    assert _type(f"{line} optim.lr=1e30 cluster=local wait=true").returncode == 76
    (folder,) = (tmp_path / network).iterdir()
    assert [attempt.reason for attempt in ledger.read(Run(folder))] == ["diverged"]
    assert _end(Run(folder))["diverged"]["step"] == 2
    assert steps(Run(folder).checkpoints) == [1]


def test_a_sweep_goes_on_after_a_run_that_diverged_and_its_table_says_so(
    tmp_path: Path, few_images: Path
) -> None:
    words = (
        f"data.dir={few_images} runs_dir={tmp_path / 'runs'} data.workers=0 batch=32 micro_batch=8 steps=4"
    )
    line = f"python launch/local.py -m +exp=demo_dnw {words} log.every_steps=2 optim.lr=1e30,0.1"
    assert _type(line).returncode == divergence.DIVERGED
    status = _type(f"python launch/runs.py status --json --runs-dir {tmp_path / 'runs'}")
    states = {Path(row["folder"]).name.split(",")[2]: row["state"] for row in json.loads(status.stdout)}
    assert states == {"optim.lr=1e+30": "diverged", "optim.lr=0.1": "finished"}
    table = _type(f"python launch/runs.py table --runs-dir {tmp_path / 'runs'}")
    assert re.search(r"left out: demo_dnw/.*optim\.lr=1e\+30.*: diverged", table.stderr)
    assert _type(line).returncode == divergence.DIVERGED  # of the other the result, and nothing is trained
    assert all(row["attempts"] == 1 for row in json.loads(status.stdout))
