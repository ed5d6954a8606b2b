"""Stopped or killed anywhere, a run ends with the bits it would have had undisturbed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch
from worker import assert_same_weights, digests, final_weights, losses, prepare, train

from dnw.runs import jsonl, ledger
from dnw.runs.folder import Run, step_path, steps
from dnw.training import checkpoint

pytestmark = pytest.mark.xdist_group("resume")  # they share a run that nothing happens to
# 12 steps of 32 images. Epochs of 120 images end in steps 4, 8 and 12, which are evaluated; steps 3, 6 and 9
# are saved, and so is each evaluation that beats those before.
CHANGES = {"steps": 12, "checkpoint__every_steps": 3, "log__digests": True, "log__every_steps": 1}

# Places to be killed at, by one run after the other. Between two of them something is saved, so that what an
# attempt went on with is in what the next one goes on with.
KILLS = [
    ("1:step 1", "1:evaluate 4", "1:step 7", "0:step 10", "0:evaluate 12"),
    ("0:step 2", "0:save best.pt", "0:evaluate 8", "1:step 11"),
    ("0:save step-00000003.pt", "0:step 5", "1:step 8", "0:step 12"),
    ("0:save step-00000006.pt", "0:save step-00000012.pt"),
]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, few_images: Path) -> Run:
    run = prepare(tmp_path_factory.mktemp("undisturbed") / "run", few_images, **CHANGES)
    code, output = train(run, 2)
    assert code == 0, output
    return run


@pytest.mark.parametrize("faults", KILLS, ids="; ".join)
def test_killed_there_it_ends_with_the_same_bits(
    tmp_path: Path, few_images: Path, undisturbed: Run, faults: tuple[str, ...]
) -> None:
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    for fault in faults:
        code, output = train(run, 2, fault)
        assert code != 0, fault
        assert re.search(r"Signal 9|SIGKILL|exitcode\s*:\s*-9", output), output
    code, output = train(run, 2)
    assert code == 0, output
    assert_same_weights(run, undisturbed)
    assert_same_best(run, undisturbed)
    assert losses(run) == losses(undisturbed)
    assert digests(run) == digests(undisturbed)
    assert len(ledger.read(run)) == len(faults) + 1


def assert_same_best(ours: Run, theirs: Run) -> None:
    a, b = (checkpoint.read(run.checkpoints / "best.pt") for run in (ours, theirs))
    assert (a.position.step, a.position.top1) == (b.position.step, b.position.top1)
    assert all(torch.equal(a.model[name], value) for name, value in b.model.items())


def test_killed_while_a_repeated_evaluation_is_saved_it_loses_nothing(
    tmp_path: Path, few_images: Path, undisturbed: Run
) -> None:
    """The stop saved step 4 unevaluated; the next attempt evaluates it and saves the same step again."""
    changes = {**CHANGES, "checkpoint__every_steps": 0, "eval_batch": 8}
    run = prepare(tmp_path / "run", few_images, **changes)
    assert train(run, 2, "1:evaluate 4:SIGTERM")[0] != 0
    stopped_at = ledger.last(run).end["step"]
    for fault in (f"0:save step-{stopped_at:08d}.pt", "0:save best.pt"):
        train(run, 2, fault)
        assert ledger.last(run).start["step"] == stopped_at
    code, output = train(run, 2)
    assert code == 0, output
    assert_same_weights(run, undisturbed)
    assert_same_best(run, undisturbed)
    evaluated = [line["step"] for line in jsonl.read(run.metrics) if line["kind"] == "val"]
    assert evaluated == [4, 8, 12]


def test_saves_by_time_come_once_each(tmp_path: Path, few_images: Path) -> None:
    changes = {**CHANGES, "checkpoint__every_steps": 0, "checkpoint__every_minutes": 0.3 / 60, "steps": 40}
    run = prepare(tmp_path / "run", few_images, **changes, checkpoint__keep=40, eval_every_epochs=100)
    assert train(run, 2)[0] == 0
    saved = steps(run.checkpoints)
    assert len(saved) >= 3
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(saved[:-1]))


@pytest.mark.parametrize(
    ("fault", "last_step"),
    [
        ("0:step 1:SIGTERM", 2),
        ("1:step 5:SIGUSR1", 6),
        ("0:step 6:SIGUSR2", 7),
        ("1:evaluate 8:SIGTERM", 8),
        ("1:step 12:SIGTERM", 12),
    ],
)
def test_signalled_it_loses_no_step(
    tmp_path: Path, few_images: Path, undisturbed: Run, fault: str, last_step: int
) -> None:
    run = prepare(tmp_path / "run", few_images, **{**CHANGES, "checkpoint__every_steps": 0})
    code, output = train(run, 2, fault)
    end = ledger.last(run).end
    assert end["step"] == last_step == steps(run.checkpoints)[-1]
    if last_step < 12:
        assert code == 75, output
        assert end["reason"] == "stopped"
        code, output = train(run, 2)
        assert ledger.last(run).start["step"] == last_step
    assert code == 0, output
    assert_same_weights(run, undisturbed)
    assert losses(run) == losses(undisturbed)
    assert digests(run) == digests(undisturbed)


@pytest.mark.parametrize("nproc", [1, 4])
def test_goes_on_with_other_processes(tmp_path: Path, few_images: Path, undisturbed: Run, nproc: int) -> None:
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    assert train(run, 2, "0:step 7")[0] != 0
    code, output = train(run, nproc)
    assert code == 0, output
    assert ledger.last(run).start["world"] == nproc
    assert digests(run) == digests(undisturbed)
    ours, theirs = losses(run), losses(undisturbed)
    assert ours.keys() == theirs.keys()
    for step, loss in theirs.items():
        assert ours[step] == pytest.approx(loss, rel=2e-3), step
    final = final_weights(run)
    for name, value in final_weights(undisturbed).items():
        if name.endswith("running_mean"):
            torch.testing.assert_close(final[name], value, rtol=1e-2, atol=1e-3)


def test_four_processes_restart_with_the_same_bits(tmp_path: Path, few_images: Path) -> None:
    """More than two: the order of sums in DDP's buckets must survive a restart."""
    whole, broken = (prepare(tmp_path / name, few_images, **CHANGES) for name in ("whole", "broken"))
    assert train(whole, 4)[0] == 0
    assert train(broken, 4, "2:step 7")[0] != 0
    assert train(broken, 4)[0] == 0
    assert_same_weights(whole, broken)


def test_damaged_newest_checkpoint_costs_steps_not_bits(
    tmp_path: Path, few_images: Path, undisturbed: Run
) -> None:
    run = prepare(tmp_path / "run", few_images, **CHANGES)
    assert train(run, 2, "0:step 8")[0] != 0
    newest = step_path(run.checkpoints, steps(run.checkpoints)[-1])
    newest.write_bytes(newest.read_bytes()[:-1])
    code, output = train(run, 2)
    assert code == 0, output
    assert "going back to the one before" in output
    assert_same_weights(run, undisturbed)


def test_finished_run_stays_as_it_is(undisturbed: Run) -> None:
    before = final_weights(undisturbed)
    code, output = train(undisturbed, 2)
    assert code == 0, output
    assert all(torch.equal(before[name], value) for name, value in final_weights(undisturbed).items())
