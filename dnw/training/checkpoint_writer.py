"""Asynchronous checkpoint writer: training blocks only while the state is copied to host memory.

A thread encodes the copy, puts it on the disk and notes it. It does for that: hashing, writing and syncing
release the interpreter's lock. One is under way at most, so that memory holds one copy, and that the newest
checkpoint is never older than the interval and the time that writing takes.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Self

from dnw.runs.claim import Claim
from dnw.runs.folder import step_path
from dnw.training import checkpoint
from dnw.training.checkpoint import Checkpoint
from dnw.training.checkpoint_interval import Interval
from dnw.training.finite import is_healthy
from dnw.training.monitor import Monitor


class CheckpointWriter:
    """Writes the checkpoints of an attempt, one after the other, and deletes old ones."""

    def __init__(
        self,
        claim: Claim,
        monitor: Monitor,
        interval: Interval,
        keep: int,
        saving: AbstractContextManager[Any],
        exempt: frozenset[str] = frozenset(),
    ) -> None:
        """Write nothing before `begin`.

        Args:
            claim: what gives the right to publish.
            monitor: notes each one.
            interval: is told what each one cost.
            keep: how many step checkpoints stay.
            saving: entered for as long as one is on its way to the disk.
            exempt: buffers of the network that may hold inf.
        """
        self.has_diverged = False  # a state with values that aren't finite came along; it was not written
        self.seconds = 0.0  # that the last one took, until it was on the disk
        self._claim, self._monitor, self._interval, self._keep = claim, monitor, interval, keep
        self._saving, self._exempt = saving, exempt
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: Future[float] | None = None

    def __enter__(self) -> Self:
        """Nothing to do."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Wait for what is under way; what it raises is passed on."""
        self.wait()
        self._pool.shutdown()

    def begin(self, snapshot: Checkpoint, began_s: float, *, best: bool = False) -> None:
        """Write a checkpoint from now on; none may be under way.

        Args:
            snapshot: the state, which nobody changes.
            began_s: since when training stands still for it, by time.monotonic().
            best: it is the best so far, and is kept as that, too.
        """
        assert self._under_way is None
        stalled_s = time.monotonic() - began_s
        self._under_way = self._pool.submit(self._write, snapshot, began_s, stalled_s, best)

    def wait(self) -> None:
        """Return once nothing is under way.

        Raises:
            CheckpointError: no space, no permission; the checkpoints before it are untouched.
            SupersededError: a later attempt has taken the run over.
        """
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            self.seconds = under_way.result()

    def look(self) -> None:
        """Raise as `wait` does, as soon as it is known."""
        if self._under_way is not None and self._under_way.done():
            self.wait()

    def _write(self, snapshot: Checkpoint, began_s: float, stalled_s: float, best: bool) -> float:
        with self._saving:
            return self._put(snapshot, began_s, stalled_s, best)

    def _put(self, snapshot: Checkpoint, began_s: float, stalled_s: float, best: bool) -> float:
        folder, step = self._claim.run.checkpoints, snapshot.position.step
        if not is_healthy(snapshot, self._exempt):
            self.has_diverged = True  # for the training to act on: the healthy ones before it stay
            return self.seconds
        self._monitor.flush()
        encoded = checkpoint.encode(snapshot)
        if best:  # first: once the step's own is there, no later attempt would write it
            checkpoint.write(folder / "best.pt", encoded, self._claim.replacing)
        checkpoint.write(step_path(folder, step), encoded, self._claim.replacing)
        checkpoint.prune(folder, self._keep)
        seconds = time.monotonic() - began_s
        self._interval.saved(stalled_s, seconds)
        self._monitor.saved(step, seconds, stalled_s, len(encoded), self._interval.seconds)
        return seconds
