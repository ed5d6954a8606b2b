"""A worker in which a value becomes inf or nan: $POISON says which, in which step; $POISONED_RANK where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch

from dnw import train
from dnw.preemption import StopRequest
from dnw.training.data import Batch
from dnw.training.evaluation import Accuracy, evaluate_each
from dnw.training.trainer import Trainer


class Poisoned(Trainer):
    """A trainer that spoils what `what` names, in the step number `at`."""

    what, at, is_lossy = "", 0, False

    def step(self, micro_batches: Iterator[Batch]) -> None:
        """Do a step, spoiled if it is that one."""
        is_now = self.position.step + 1 == self.at
        weight = next(self.model.parameters())
        if self.what == "exception" and self.position.step == self.at:
            raise AssertionError("underflow in dt nan")
        if self.what == "gradient" and is_now:
            hook = weight.register_hook(lambda gradient: gradient * float("inf"))
        self.is_lossy = self.what == "loss" and is_now
        super().step(micro_batches)
        if self.what == "gradient" and is_now:
            hook.remove()
        if self.what in {"weight", "exception"} and is_now:
            weight.data.view(-1)[0] = float("nan")
        if self.what == "statistics" and is_now:
            self.running._running[0] = float("inf")
        if self.what == "momentum" and is_now:
            self.optimizer.state[weight]["momentum_buffer"].view(-1)[0] = float("inf")

    def _loss(self, batch: Batch, number: int) -> torch.Tensor:
        loss = super()._loss(batch, number)
        if self.is_lossy:
            self._sums[0] = self._sums[3] = float("inf")
        return loss


def main(arguments: list[str], stop: StopRequest) -> int:
    """Train as a worker does, but for what is spoiled."""
    rank = os.environ["RANK"]
    what, at = os.environ["POISON"].split()
    if rank == os.environ.get("POISONED_RANK", rank):
        Poisoned.what, Poisoned.at = what, int(at)

    def poisoned_evaluate(*given: Any, **named: Any) -> list[Accuracy]:
        (found,) = evaluate_each(*given, **named)
        is_now = what == "evaluation" and named["should_stop"].__self__._trainer.position.step >= int(at)
        return [Accuracy(found.samples, 99.0, 99.0, float("nan")) if is_now else found]

    with patch("dnw.train.Trainer", Poisoned), patch("dnw.training.loop.evaluate_each", poisoned_evaluate):
        return train.main(arguments, stop)
