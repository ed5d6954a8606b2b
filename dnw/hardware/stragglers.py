"""Ranks that are slower than the others: how that is measured, and when it is said.

All ranks of a step take the same time, since they wait for each other. So each measures what it doesn't
share: how long it waits for its images, and its forward. That time travels in the agreement that ranks
exchange after each step anyway. On a GPU it is told by two events of a micro-batch, which are read once they
have happened, steps later perhaps: the processor never waits for the GPU.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

SLOW = 1.5  # times the median
STEPS = 50  # in a row


class OwnTime:
    """The time that this process has needed by itself in a step."""

    def __init__(self, device: torch.device) -> None:
        self._is_gpu = device.type == "cuda"
        self._seconds = 0.0
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Around whatever a micro-batch makes this process do before ranks wait for each other."""
        if self._is_gpu:
            with self._on_gpu():
                yield
            return
        began_s = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - began_s

    def take(self) -> float:
        """Return the seconds since the last call; on a GPU the newest that are known, of one micro-batch."""
        if self._is_gpu:
            return self._newest()
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @contextlib.contextmanager
    def _on_gpu(self) -> Iterator[None]:
        if self._events is not None:  # still to be read
            yield
            return
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        yield
        ended.record()
        self._events = began, ended

    def _newest(self) -> float:
        if self._events is not None:
            began, ended = self._events
            if ended.query():
                self._seconds, self._events = began.elapsed_time(ended) / 1000, None
        return self._seconds


@dataclass(frozen=True)
class Change:
    """A rank that has become slow, or as fast as the others again."""

    rank: int
    is_slow: bool
    ratio: float  # of its time to the median


class Stragglers:
    """Notes which ranks are slow, from all ranks' times of each step."""

    def __init__(self, size: int) -> None:
        self._slow: set[int] = set()
        self._steps = [0] * size  # in a row, in which a rank was what it isn't taken for

    def note(self, times: Sequence[float]) -> list[Change]:
        """Take the times of a step, by rank; return what has changed.

        The median is the lower of the middle two: of two ranks, one can be slower than the other.
        """
        median = statistics.median_low(times)
        if median <= 0:  # of no step, or not known yet
            return []
        changes = []
        for rank, seconds in enumerate(times):
            is_slow = seconds > SLOW * median
            self._steps[rank] = self._steps[rank] + 1 if is_slow != (rank in self._slow) else 0
            if self._steps[rank] == STEPS:
                self._steps[rank] = 0
                self._slow ^= {rank}
                changes.append(Change(rank, is_slow, seconds / median))
        return changes
