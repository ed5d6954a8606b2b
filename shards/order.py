"""The order of the samples as a pure function of (shards, seed, window).

Positions run on across epochs: position p is epoch p // N, place p % N. A step takes a range of positions, a
rank its part of the range, so any number of ranks sees the same sequence and a restart anywhere continues it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards import rng

Numbers = npt.NDArray[np.int64]
_SHARDS, _SAMPLES = 0, 1  # what a permutation permutes: last part of its key


@dataclass(frozen=True)
class Order:
    """Which sample stands at which position.

    Attributes:
        shard_lengths: samples in each shard; sample numbers count through the shards in this order.
        seed: another seed, another order.
        window: shards that are shuffled together; bounds the files that are open at a time. 0: all of them,
            a true permutation of the data set.

    Raises:
        ValueError: no samples, a negative length, or a negative window.
    """

    shard_lengths: tuple[int, ...]
    seed: int
    window: int = 0

    def __post_init__(self) -> None:
        if min(self.shard_lengths, default=0) < 0 or sum(self.shard_lengths) == 0:
            raise ValueError(f"shard lengths {self.shard_lengths}: there must be samples to put in order")
        if self.window < 0:
            raise ValueError(f"window {self.window}: must be a number of shards, or 0 for all of them")

    @functools.cached_property
    def num_samples(self) -> int:
        """N, the samples of one epoch."""
        return sum(self.shard_lengths)

    def epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the sample numbers of one epoch in order, int64[N]."""
        return self.samples(epoch * self.num_samples, (epoch + 1) * self.num_samples)

    def samples(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the sample numbers at positions start ... stop-1, int64[stop - start].

        Only the windows in which they are get computed, and the last few used are kept: so neither time nor
        memory grows with N, unless the window does.

        Raises:
            ValueError: not 0 <= start <= stop.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"positions {start} to {stop}: must be 0 <= start <= stop")
        pieces = [np.empty(0, np.int64)]
        while start < stop:
            epoch, place = divmod(start, self.num_samples)
            _, ends = self._epoch(epoch)
            number = int(np.searchsorted(ends, place, side="right"))
            first = int(ends[number - 1]) if number else 0
            count = min(stop - start, int(ends[number]) - place)
            pieces.append(self._window(epoch, number)[place - first : place - first + count])
            start += count
        return np.concatenate(pieces)

    def shards_ahead(self, position: int) -> list[int]:
        """Return the shards of the window at this position, and of the next one in the same epoch."""
        epoch, place = divmod(position, self.num_samples)
        shards, ends = self._epoch(epoch)
        size = self.window or len(shards)
        first = int(np.searchsorted(ends, place, side="right")) * size
        return [int(shard) for shard in shards[first : first + 2 * size]]

    @functools.cached_property
    def _lengths(self) -> Numbers:
        return np.array(self.shard_lengths, np.int64)

    @functools.cached_property
    def _starts(self) -> Numbers:
        return np.cumsum(self._lengths) - self._lengths

    @functools.cached_property
    def _epoch(self) -> Callable[[int], tuple[Numbers, Numbers]]:
        return functools.lru_cache(maxsize=2)(self._shards_of)

    @functools.cached_property
    def _window(self) -> Callable[[int, int], Numbers]:
        return functools.lru_cache(maxsize=2)(self._samples_of)

    def _shards_of(self, epoch: int) -> tuple[Numbers, Numbers]:
        """Return an epoch's shards in order, and how many samples come before the end of each window."""
        shards = rng.permutation(len(self._lengths), self.seed, epoch, _SHARDS)
        firsts = np.arange(0, len(shards), self.window or len(shards))
        return shards, np.cumsum(np.add.reduceat(self._lengths[shards], firsts))

    def _samples_of(self, epoch: int, number: int) -> Numbers:
        """Return the samples of one window in order."""
        shards, _ = self._epoch(epoch)
        size = self.window or len(shards)
        together = shards[number * size : (number + 1) * size]
        samples = _ranges(self._starts[together], self._lengths[together])
        return samples[rng.permutation(len(samples), self.seed, epoch, number, _SAMPLES)]

    def __reduce__(self) -> tuple[type[Order], tuple[tuple[int, ...], int, int]]:
        return Order, (self.shard_lengths, self.seed, self.window)  # without what is kept


def part(total: int, rank: int, world: int) -> tuple[int, int]:
    """Return (start, stop) of the contiguous part of range(total) that rank of world takes.

    The parts cover the range once, and their lengths differ by at most one.

    Raises:
        ValueError: not 0 <= rank < world, or total is negative.
    """
    if not (0 <= rank < world and total >= 0):
        raise ValueError(f"part of {total} for rank {rank} of {world}: must be 0 <= rank < world, total >= 0")
    return total * rank // world, total * (rank + 1) // world


def _ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # [start, start + length) for each pair, one after the other
    places = np.cumsum(lengths) - lengths
    return np.repeat(starts - places, lengths) + np.arange(int(lengths.sum()))
