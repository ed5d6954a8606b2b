"""The loop of one attempt: from where the last checkpoint was to the end of the run, or to a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

from dnw import schedule
from dnw.config.steps import recorded_steps
from dnw.hardware import numa
from dnw.hardware.stragglers import OwnTime, Stragglers
from dnw.preemption import StopRequest
from dnw.runs import ledger
from dnw.runs.claim import Claim
from dnw.training import faults
from dnw.training.checkpoint import Identity
from dnw.training.checkpoint_interval import Interval
from dnw.training.checkpoint_writer import CheckpointWriter
from dnw.training.data import Batch, batches_of_attempt, digest, evaluation_count
from dnw.training.distributed import Agreement
from dnw.training.divergence import DivergedError, diagnose
from dnw.training.evaluation import Interrupted, evaluate_each
from dnw.training.monitor import Monitor
from dnw.training.monitoring.step_profile import StepProfile
from dnw.training.prefetch import on_device
from dnw.training.trainer import Trainer
from dnw.training.watchdog import Watchdog
from shards.errors import ShardError
from shards.index import Index
from shards.order import part

log = logging.getLogger(__name__)
STATE = "a weight, momentum or running statistic"


class Loop:
    """Steps, log lines, evaluations and checkpoints in their order."""

    def __init__(
        self,
        claim: Claim,
        trainer: Trainer,
        splits: tuple[Index, Index],
        identity: Identity,
        stop: StopRequest,
        watchdog: Watchdog,
    ) -> None:
        self._claim = claim
        self._trainer = trainer
        self._train_split, self._val_split = splits
        self._identity = identity
        self._monitor: Monitor | None = None
        self._stop = stop
        self._watchdog = watchdog
        self._agreement = Agreement(trainer.world)
        self._stragglers = Stragglers(trainer.world.size)
        if trainer.world.size > 1:
            trainer.own_time = OwnTime(trainer.world.device)
        self._began_at = trainer.position.step
        self._interval: Interval | None = None  # it, and the writer, are the first rank's
        self._writer: CheckpointWriter | None = None
        self._saved, self._saved_at_s = trainer.position, time.monotonic()
        self._asked_to_save = self._time_to_save = False
        self._digests: list[int] = []
        self._evaluated_before = trainer.position.evaluated
        self._batches = self._begin_loading()
        self._profile = self._begin_profile()

    def run(self, monitor: Monitor | None = None) -> bool:
        """Train to the end (True) or until all ranks have agreed to stop (False); saved either way.

        `monitor` is for the first rank alone, which writes.

        Raises:
            DivergedError: on all ranks, after the same step.
        """
        self._monitor = monitor
        if monitor is None:
            return self._train()
        settings = self._trainer.train.checkpoint
        self._interval = Interval(settings, self._claim.run)
        with CheckpointWriter(
            *(self._claim, monitor, self._interval, settings.keep, self._stop.saving),
            exempt=self._trainer.exempt,
        ) as self._writer:
            return self._train()

    def _train(self) -> bool:
        trainer = self._trainer
        micro_batches = self._micro_batches()
        try:
            self._evaluate_if_due()  # a stop may have cut it off
            self._save()
            while trainer.position.step < trainer.steps:
                with self._profiled():
                    trainer.step(micro_batches)
                self._report()
                self._evaluate_if_due()
                must_stop = self._agree(trainer.own_time.take() if trainer.own_time else 0.0)
                self._tell_slow()
                if must_stop and trainer.position.step < trainer.steps:
                    raise Interrupted
                if self._time_to_save or self._is_saving_step():
                    self._save()
        except Interrupted:
            if self._profile:
                self._profile.close()
            self._say_how_long()
            self._save_last()
            return False
        self._save_last()
        return True

    def _profiled(self) -> AbstractContextManager[None]:
        if self._profile is None:
            return contextlib.nullcontext()
        return self._profile.step(self._trainer.position.step + 1)

    def _begin_profile(self) -> StepProfile | None:
        """Return what records the steps that were asked for, if any of them is still to come."""
        trainer, asked = self._trainer, self._trainer.train.profile
        if not asked:
            return None
        steps = recorded_steps(asked)
        if trainer.position.step + 1 >= steps.stop:
            if trainer.world.is_first:
                log.info("profile=%s: these steps are done, nothing is recorded", asked)
            return None
        made = StepProfile(steps, self._claim, trainer.world)
        trainer.part = made.part
        return made

    def _begin_loading(self) -> Iterator[Batch]:
        """Everything this rank computes, from here to the end, on the device where it is computed."""
        trainer = self._trainer
        numa.bind(trainer.world.device, trainer.train.threads + trainer.train.data.workers)
        steps = range(trainer.position.step, trainer.steps)
        splits = (self._train_split, self._val_split)
        loader = batches_of_attempt(trainer.train, splits, trainer.world, steps, self._is_evaluated)
        return on_device(iter(loader), trainer.world.device)

    def _micro_batches(self) -> Iterator[Batch]:
        """Those of training, noting what each one holds as it is where it is computed."""
        for batch in self._batches:
            if self._trainer.train.log.digests:
                self._digests.append(digest(batch))
            faults.reach("load")
            yield batch

    def _agree(self, own_s: float = 0.0) -> bool:
        """Whether all ranks stop after this step; whether they save is noted. `own_s`: of OwnTime."""
        interval_s = self._interval.seconds if self._interval else 0.0
        is_time = 0 < interval_s <= time.monotonic() - self._saved_at_s
        wish = is_time and not self._asked_to_save
        self._asked_to_save |= wish
        must_stop, time_to_save, has_diverged = self._agreement.exchange(
            self._stop.received, wish, self._is_unhealthy(), own_s=own_s
        )
        if has_diverged:
            raise DivergedError(diagnose(self._trainer, STATE))
        self._time_to_save |= time_to_save
        return must_stop

    def _tell_slow(self) -> None:
        """Name ranks that have become slow, on the first one; by the times of the step before."""
        if self._monitor is None or not (times := self._agreement.times):
            return
        for change in self._stragglers.note(times):
            self._monitor.slow(self._trainer.position.step, change, self._trainer.world.places[change.rank])

    def _is_unhealthy(self) -> bool:
        """Whether this rank's writer has been given a state that isn't finite; it is the first rank's."""
        return self._writer is not None and self._writer.has_diverged

    def _is_saving_step(self) -> bool:
        settings = self._trainer.train.checkpoint
        every = 0 if settings.every == "auto" else settings.every_steps
        return every > 0 and self._trainer.position.step % every == 0

    def _report(self) -> None:
        trainer, step = self._trainer, self._trainer.position.step
        faults.reach(f"step {step}")
        self._watchdog.progress(step)
        if self._writer:
            self._writer.look()
        if self._monitor:
            self._monitor.step(step)
            if step == self._began_at + 1:
                ledger.first_step(self._claim.run, self._claim.number, step)
        if trainer.train.log.digests:
            self._report_digests(step)
        if step % trainer.train.log.every_steps and step != trainer.steps:
            return
        loss, top1 = trainer.read_meter()
        if self._monitor:
            epoch = trainer.position.consumed / trainer.samples
            self._monitor.training(step, epoch, loss, top1, trainer.rate, trainer.train.batch)
        if not math.isfinite(loss):  # the same sum on all ranks
            raise DivergedError(diagnose(trainer, "the loss"))
        self._tell_replaced(step)
        self._check_replaced()

    def _tell_replaced(self, step: int) -> None:
        """Name the samples that couldn't be read since the last call; all ranks together."""
        numbers = self._trainer.take_replaced()
        if self._monitor and numbers:
            self._monitor.replaced(step, numbers, self._train_split)

    def _check_replaced(self) -> None:
        """Raise ShardError, on all ranks, if too many samples couldn't be read."""
        trainer, folder = self._trainer, self._train_split.folder
        total = max(trainer.position.consumed, trainer.samples)
        if trainer.position.replaced > trainer.train.data.max_bad * total:
            raise ShardError(
                f"{folder}: {trainer.position.replaced} images of {total:,} could not be read, more than "
                f"data.max_bad={trainer.train.data.max_bad:g}; {self._claim.run.metrics} names them, "
                f"python -m shards.verify {folder} says what is wrong"
            )

    def _report_digests(self, step: int) -> None:
        world, train = self._trainer.world, self._trainer.train
        micro_batches = train.batch // train.micro_batch
        first, last = part(micro_batches, world.rank, world.size)
        all_digests = torch.zeros(micro_batches, dtype=torch.int64)
        all_digests[first:last] = torch.tensor(self._digests)
        self._digests.clear()
        world.sum(all_digests)
        if self._monitor:
            self._monitor.digests(step, all_digests.tolist())

    def _is_evaluated(self, step: int) -> bool:
        """Whether an evaluation follows this step in this attempt: the loader counts on it."""
        train, samples = self._trainer.train, self._trainer.samples
        is_due = step > 0 and schedule.is_due(train, samples, step, train.eval_every_epochs)
        return is_due and step != self._evaluated_before

    def _evaluate_if_due(self) -> None:
        trainer, position = self._trainer, self._trainer.position
        if not self._is_evaluated(position.step):
            return
        count = evaluation_count(trainer.train, self._val_split, trainer.world)
        accuracy, *averaged = evaluate_each(
            trainer.networks(),
            itertools.islice(self._batches, count),
            trainer.normalize,
            trainer.world,
            trainer.train.precision,
            should_stop=self._should_stop_evaluating,
        )
        is_finite = math.isfinite(accuracy.loss)
        judged = averaged[0].top1 if averaged else accuracy.top1  # by which best.pt is the best
        trainer.position = dataclasses.replace(
            position,
            evaluated=position.step,
            top1=accuracy.top1,
            top5=accuracy.top5,
            loss=accuracy.loss,
            best_top1=max(judged, position.best_top1) if is_finite else position.best_top1,
            ema_top1=averaged[0].top1 if averaged else None,
        )
        swapped = trainer.swapped()
        if self._monitor:
            epoch = position.consumed / trainer.samples
            self._monitor.evaluation(position.step, epoch, accuracy)
            for one in averaged:
                self._monitor.evaluation(position.step, epoch, one, of_average=True)
            size = trainer.train.data.test_size
            self._monitor.wiring(position.step, trainer.model, trainer.masks, size, swapped)
        if not is_finite:
            self._check_evaluation()
        elif judged > position.best_top1:
            self._save(best=True)

    def _check_evaluation(self) -> None:
        """Act on a validation loss that isn't finite: all ranks together.

        Where the state of the training is finite, its running statistics may come to fit yet: it goes on, and
        says so. The last evaluation is the result, which there is none of then.

        Raises:
            DivergedError: the state isn't finite, or it was the last evaluation.
        """
        trainer = self._trainer
        found = diagnose(trainer, "the validation loss")
        if found.layer or trainer.position.step == trainer.steps:
            raise DivergedError(found)
        log.warning(
            "step %d: the validation loss is not finite, weights and running statistics are; training goes "
            "on, this evaluation counts as none",
            trainer.position.step,
        )

    def _should_stop_evaluating(self) -> bool:
        faults.reach(f"evaluate {self._trainer.position.step}")
        self._watchdog.progress(self._trainer.position.step)
        return self._agree()

    def _say_how_long(self) -> None:
        """Before the save of a stop: whether the time granted for it should do."""
        granted_s = float(os.environ.get("DNW_GRACE_S", "inf"))
        if self._writer and self._writer.seconds > granted_s:
            log.warning(
                "stopping: a save takes about %.0f s, %.0f s are granted; should it not fit, the checkpoint "
                "of step %d counts (lower checkpoint.every_minutes)",
                *(self._writer.seconds, granted_s, self._saved.step),
            )

    def _save_last(self) -> None:
        """Have this position on the disk, and all ranks know whether it could be written."""
        self._agreement.settle(3)
        self._save()
        if self._writer:
            self._writer.wait()
        if self._trainer.world.broadcast_int(self._is_unhealthy()):
            raise DivergedError(diagnose(self._trainer, STATE))

    def _save(self, best: bool = False) -> None:
        """Have this position written, unless it was; returns as soon as its state is copied."""
        trainer, step = self._trainer, self._trainer.position.step
        if trainer.position == self._saved:
            return
        began_s = time.monotonic()
        self._tell_replaced(step)
        trainer.gather_meter()
        if self._writer:
            self._writer.wait()
            self._writer.begin(trainer.snapshot(self._identity), began_s, best=best)
        self._watchdog.progress(step)
        self._saved, self._saved_at_s = trainer.position, time.monotonic()
        self._asked_to_save = self._time_to_save = False
