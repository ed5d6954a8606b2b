"""The loop of one attempt, by a process alone; with others, killed and resumed: tests/integration."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from run_folder import make

from dnw import models
from dnw.config import load
from dnw.identity import signature
from dnw.preemption import StopRequest
from dnw.runs import jsonl, ledger
from dnw.runs.claim import Claim
from dnw.runs.folder import Run, steps
from dnw.splits import open_splits
from dnw.training import checkpoint
from dnw.training.checkpoint import Identity
from dnw.training.distributed import ALONE
from dnw.training.divergence import DivergedError
from dnw.training.evaluation import Accuracy
from dnw.training.loop import Loop
from dnw.training.monitor import Monitor
from dnw.training.trainer import Trainer
from dnw.training.watchdog import Watchdog
from shards.errors import ShardError

SMALL: dict[str, Any] = {"batch": 4, "micro_batch": 4, "steps": 3, "eval_batch": 50}


class Attempt:
    """What a loop is made of."""

    def __init__(self, folder: Path, shards: Path, **changes: Any) -> None:
        self.run: Run = make(folder, data__dir=str(shards), **{**SMALL, **changes})
        self.train = load(self.run.config)
        self.claim = Claim.take_over(self.run)
        splits = open_splits(self.train.data)
        self.trainer = Trainer(self.train, models.build(self.train), ALONE, splits[0].num_samples)
        self.trainer.begin()
        self.stop = StopRequest()
        identity = Identity("example", signature(self.train), "", "")
        self.loop = Loop(self.claim, self.trainer, splits, identity, self.stop, Watchdog(0, lambda _: None))

    def work(self) -> bool:
        """Train as the first rank does, which writes."""
        with Monitor(self.claim, self.trainer.position, self.trainer.steps, self.train) as monitor:
            return self.loop.run(monitor)


def test_to_the_end(tmp_path: Path, few_images: Path) -> None:
    one = Attempt(tmp_path, few_images, checkpoint__every_steps=2, log__digests=True)
    ledger.claim(one.run, 1, job="-", restart=0, hosts=["here"])
    assert one.work()
    position = one.trainer.position
    assert (position.step, position.consumed, position.evaluated) == (3, 12, 3)
    assert position.best_top1 == position.top1
    assert steps(one.run.checkpoints) == [2, 3]
    lines = jsonl.read(one.run.metrics)
    assert [(line["kind"], line["step"]) for line in lines if line["kind"] in ("train", "val")] == [
        ("train", 2),
        ("train", 3),
        ("val", 3),
    ]
    assert [line["step"] for line in jsonl.read(one.run.digests)] == [1, 2, 3]


def test_the_average_decides_which_evaluation_is_the_best(
    tmp_path: Path, few_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the weights in training the first is better, of their average the second."""
    found = iter([(60.0, 30.0), (50.0, 40.0)])

    def evaluated(networks: Any, batches: Any, *_: Any, **__: Any) -> list[Accuracy]:
        assert len(networks) == 2
        assert sum(len(batch.labels_B) for batch in batches) == 50
        return [Accuracy(50, top1, 90.0, 1.0) for top1 in next(found)]

    monkeypatch.setattr("dnw.training.loop.evaluate_each", evaluated)
    one = Attempt(tmp_path, few_images, optim__ema=0.9, batch=60, micro_batch=20, steps=4)
    ledger.claim(one.run, 1, job="-", restart=0, hosts=["here"])
    assert one.work()
    assert (one.trainer.position.best_top1, one.trainer.position.ema_top1) == (40.0, 40.0)
    assert checkpoint.read(one.run.checkpoints / "best.pt").position.step == 4


def test_other_ranks_write_nothing(tmp_path: Path, few_images: Path) -> None:
    one = Attempt(tmp_path, few_images, steps=1)
    before = sorted(one.run.folder.rglob("*"))
    assert one.loop.run()
    assert one.trainer.position.step == 1
    assert sorted(one.run.folder.rglob("*")) == before


def test_a_stop_request_is_followed_after_the_step_and_what_was_done_is_saved(
    tmp_path: Path, few_images: Path
) -> None:
    one = Attempt(tmp_path, few_images)
    one.stop.signal = signal.SIGTERM
    assert not one.work()
    assert one.trainer.position.step == 1
    assert steps(one.run.checkpoints) == [1]


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path, few_images: Path) -> None:
    one = Attempt(tmp_path, few_images, log__every_steps=1)
    one.trainer.model.get_parameter("fc.bias").data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="the loss of step 1 is not finite"):
        one.work()
    assert steps(one.run.checkpoints) == []


def test_more_unreadable_images_than_allowed(tmp_path: Path, few_images: Path) -> None:
    one = Attempt(tmp_path, few_images, data__max_bad=0.01)
    one.trainer._replaced = [1, 2]
    with pytest.raises(ShardError, match=r"2 images of 120 could not be read, more than data\.max_bad=0\.01"):
        one.work()
