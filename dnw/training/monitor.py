"""What a run shows: metrics.jsonl, TensorBoard, a bar on a terminal or plain lines in a log. Rank 0 only."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn

from dnw.config import Train
from dnw.hardware.stragglers import STEPS, Change
from dnw.profile import Profile
from dnw.runs import jsonl
from dnw.runs.claim import Claim
from dnw.runs.goodput import goodput
from dnw.runs.metrics_scan import MetricsScan
from dnw.training.checkpoint import Position
from dnw.training.evaluation import Accuracy
from dnw.training.monitoring import board as boards
from dnw.training.monitoring.drawing import Drawing
from dnw.training.monitoring.pictures import Pixels
from shards.index import Index
from shards.reader import Reader

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger(__name__)

TRAINING = ("loss", "top1", "lr", "images_per_second")
SAVING = ("seconds", "stalled", "interval", "bytes")
EMA = "val_ema"  # evaluations of the averaged weights
_CURVES = {"train": TRAINING, "save": SAVING}


class Monitor:
    """Writes what happens in one attempt, and removes what an attempt before it wrote past this point."""

    def __init__(self, claim: Claim, position: Position, steps: int, train: Train) -> None:
        """Go on from `position` on the way to `steps`; `train` is what is shown as the run's settings."""
        step, is_evaluated = position.step, position.evaluated == position.step
        self._claim, self._run = claim, claim.run
        run = claim.run
        self._step = step
        self._steps = steps
        self._last_line = (step, time.monotonic())
        for lines in (run.metrics, run.digests):
            jsonl.keep(lines, lambda record: _is_over(record, step, is_evaluated), claim.replacing)
        purge_step = step + is_evaluated if step else None
        self._scan = MetricsScan(run.metrics)
        self._board = boards.open_board(run, train, purge_step)
        if purge_step == step:
            self._show_again(step)
        boards.introduce(self._board, run, train, step)
        self._drawing = Drawing()
        self._bar = _bar() if sys.stdout.isatty() else None
        self._task = self._bar.add_task("", total=steps, completed=step, text="") if self._bar else None

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is being drawn, close the files, leave the terminal as it was."""
        if self._bar:
            self._bar.stop()
        self._drawing.close()
        self._board.close()
        if error is None:
            self._drawing.look()

    def step(self, step: int) -> None:
        """Move the bar; raise what went wrong beside the training."""
        self._drawing.look()
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=step)

    def training(self, step: int, epoch: float, loss: float, top1: float, rate: float, batch: int) -> None:
        """Log the steps since the last call.

        Args:
            step: the last of them.
            epoch: how many epochs that makes.
            loss: their mean.
            top1: percent of their images.
            rate: the learning rate.
            batch: images of a step.
        """
        before, began = self._last_line
        now = time.monotonic()
        self._last_line = (step, now)
        speed = (step - before) * batch / (now - began)
        left = (self._steps - step) * batch / speed
        values = dict(zip(TRAINING, (loss, top1, rate, speed), strict=True))
        self._write(step, "train", values, epoch=round(epoch, 4))
        text = f"loss {loss:.4f}  top-1 {top1:.2f} %  {speed:.0f} images/s"
        self._say(f"step {step}/{self._steps}  epoch {epoch:.2f}  {text}  lr {rate:.5f}  {_clock(left)} left")
        if self._bar and self._task is not None:
            self._bar.update(self._task, text=text)

    def evaluation(self, step: int, epoch: float, accuracy: Accuracy, of_average: bool = False) -> None:
        """Log the accuracy on the validation split.

        Args:
            step: after which it was measured.
            epoch: the same in passes over the training split.
            accuracy: of all ranks together.
            of_average: it is that of the averaged weights, a series of its own.
        """
        self._write(
            step,
            EMA if of_average else "val",
            {"top1": accuracy.top1, "top5": accuracy.top5, "loss": accuracy.loss},
            epoch=round(epoch, 4),
            samples=accuracy.samples,
        )
        self._scan.read_on()
        told = dataclasses.asdict(goodput(self._run, time.time(), self._scan))
        self._show(step, "goodput", {name: value for name, value in told.items() if value is not None})
        of = " (ema)" if of_average else ""
        self._say(
            f"step {step}/{self._steps}  validation{of}: top-1 {accuracy.top1:.2f} %  "
            f"top-5 {accuracy.top5:.2f} %  loss {accuracy.loss:.4f}  {accuracy.samples} images"
        )
        self._last_line = (step, time.monotonic())

    def wiring(
        self, step: int, model: nn.Module, masks: Mapping[str, Tensor], image_size: int, swapped: float
    ) -> None:
        """Log what has become of the wiring: its cost, its dead nodes, the edges swapped, its pictures.

        Written by a thread, which is done when `flush` returns.

        Args:
            step: after how many steps.
            model: the network as it is now; it is read before this returns.
            masks: its edges, bool, by the path of their weight, on the host; nobody may change them.
            image_size: side of the images that the cost is counted for, pixels.
            swapped: share of the edges that were exchanged since the last time, 0 to 1.
        """
        self._drawing.begin(model, masks, image_size, partial(self._drawn, step, swapped))

    def _drawn(self, step: int, swapped: float, costs: Profile, pictures: Mapping[str, Pixels]) -> None:
        dead = {block.name: block.dead for block in costs.blocks}
        values = {"macs": costs.macs, "params": costs.params}
        values |= {"effective_macs": costs.effective_macs, "effective_params": costs.effective_params}
        self._write(step, "wiring", {**values, "swapped": swapped, "dead_nodes": sum(dead.values())})
        for name, count in dead.items():
            self._board.add_scalar(f"dead_nodes/{name}", count, step)
        for name, pixels in pictures.items():
            self._board.add_image(f"wiring/{name}", pixels, step, dataformats="HWC")

    def replaced(self, step: int, numbers: list[int], index: Index) -> None:
        """Log samples that couldn't be read, each once in a run, and their number as a curve.

        Args:
            step: that is done.
            numbers: of the samples, in the index.
            index: of the split that they are from.
        """
        told = {record["sample"] for record in jsonl.read(self._run.metrics) if record["kind"] == "replaced"}
        reader = Reader(index)
        for number in sorted(set(numbers) - told):
            place = reader.place(number)
            facts = {"sample": number, **place._asdict()}
            self._note(step, "replaced", facts)
            log.warning("%s can't be read: another image is taken in its place", place)
            told.add(number)
        self._show_unreadable(step, len(told))

    def slow(self, step: int, change: Change, place: str) -> None:
        """Log that a rank has become slow, or isn't any more: a line, a record, and a curve of its own.

        Args:
            step: that is done.
            change: of which rank, and by how much it is slower.
            place: node and device of that rank.
        """
        who = f"rank {change.rank} ({place})"
        if change.is_slow:
            log.warning(
                "%s is slow: its own part of a step takes %.1f times the median of all, for %d steps now",
                *(who, change.ratio, STEPS),
            )
        else:
            log.info("%s is as fast as the others again", who)
        facts = {"rank": change.rank, "place": place, "is_slow": change.is_slow}
        self._note(step, "slow", {**facts, "ratio": round(change.ratio, 2)})
        self._show(step, "slow", {_curve_of(change.rank, place): change.ratio})

    def saved(self, step: int, seconds: float, stalled_s: float, size: int, interval_s: float) -> None:
        """Log a checkpoint.

        Args:
            step: that it holds.
            seconds: until it was on the disk.
            stalled_s: seconds that training stood still for it.
            size: in bytes.
            interval_s: seconds until the next one.
        """
        values = (*(round(time_s, 4) for time_s in (seconds, stalled_s, interval_s)), size)
        self._write(step, "save", dict(zip(SAVING, values, strict=True)))

    def done(self) -> None:
        """Log that the run is done."""
        boards.conclude(self._board)

    def diverged(self, step: int, told: str) -> None:
        """Note that the run has diverged: a text, and a curve of one point."""
        self._write(step, "run", {"diverged": 1.0}, told=told)
        self._board.add_text("run/divergence", f"```\n{told}\n```", step)

    def digests(self, step: int, digests: list[int]) -> None:
        """Log what each micro-batch of a step held."""
        self._claim.check()
        jsonl.append(self._run.digests, {"step": step, "digests": [f"{d:016x}" for d in digests]})

    def flush(self) -> None:
        """Have everything on disk: a checkpoint of this step is about to say that it was written.

        Raises:
            SupersededError: a later attempt has taken the run over.
        """
        self._drawing.wait()
        self._claim.check()
        self._board.flush()
        jsonl.sync(self._run.metrics)

    def _write(self, step: int, group: str, values: dict[str, float], **more: Any) -> None:
        self._claim.check()
        self._note(step, group, {**values, **more})
        self._show(step, group, values)

    def _note(self, step: int, kind: str, facts: Mapping[str, Any]) -> None:
        of = {"attempt": self._claim.number, "time": round(time.time(), 3)}
        known = {name: value if _is_json(value) else None for name, value in facts.items()}
        jsonl.append(self._run.metrics, {"step": step, "kind": kind, **known, **of})

    def _show(self, step: int, group: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def _show_again(self, step: int) -> None:
        """Show what TensorBoard hides of a step, though it is over: all of it but its evaluation."""
        records = jsonl.read(self._run.metrics)
        for record in (record for record in records if record["step"] == step):
            kind = record["kind"]
            if kind in _CURVES:
                self._show(step, kind, {name: record[name] for name in _CURVES[kind]})
            elif kind == "slow":
                self._show(step, kind, {_curve_of(record["rank"], record["place"]): record["ratio"]})
        unreadable = [record["step"] for record in records if record["kind"] == "replaced"]
        if step in unreadable:
            self._show_unreadable(step, len(unreadable))

    def _show_unreadable(self, step: int, count: int) -> None:
        self._show(step, "train", {"unreadable": count})

    def _say(self, line: str) -> None:
        log.info(line)


def _is_over(record: dict[str, Any], step: int, is_evaluated: bool) -> bool:
    """Whether a record is of the past: the evaluation of `step` is not, if it has to be repeated."""
    is_of_training = record.get("kind", "train") in {"train", "save", "replaced", "slow"}
    return bool(record["step"] < step or (record["step"] == step and (is_of_training or is_evaluated)))


def _curve_of(rank: int, place: str) -> str:
    return f"rank {rank}, {place}"


def _is_json(value: object) -> bool:
    """Whether JSON has this value: it has neither inf nor nan."""
    return not isinstance(value, float) or math.isfinite(value)


def _bar() -> Progress:
    from rich import progress  # noqa: PLC0415  (only a terminal needs it)

    return progress.Progress(
        progress.TextColumn("step"),
        progress.MofNCompleteColumn(),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[text]}"),
        progress.TimeRemainingColumn(),
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
