"""The order of the samples as a pure function of (shards, seed, window).

Positions run on across epochs: position p is epoch p // N, place p % N. A step takes a range of positions, a
rank its part of the range, so any number of ranks sees the same sequence and a restart anywhere continues it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shards import rng

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

    @property
    def num_samples(self) -> int:
        """N, the samples of one epoch."""
        return sum(self.shard_lengths)

    def epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The sample numbers of one epoch in order, int64[N], read-only; the last two used are kept."""
        return _epoch_order(self, epoch)

    def samples(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """The sample numbers at positions start ... stop-1, int64[stop - start].

        Raises:
            ValueError: not 0 <= start <= stop.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"positions {start} to {stop}: must be 0 <= start <= stop")
        n = self.num_samples
        pieces = [np.empty(0, np.int64)]
        while start < stop:
            epoch, place = divmod(start, n)
            count = min(stop - start, n - place)
            pieces.append(self.epoch_order(epoch)[place : place + count])
            start += count
        return np.concatenate(pieces)


def part(total: int, rank: int, world: int) -> tuple[int, int]:
    """(start, stop) of the contiguous part of range(total) that rank of world takes.

    The parts cover the range once, and their lengths differ by at most one.

    Raises:
        ValueError: not 0 <= rank < world, or total is negative.
    """
    if not (0 <= rank < world and total >= 0):
        raise ValueError(f"part of {total} for rank {rank} of {world}: must be 0 <= rank < world, total >= 0")
    return total * rank // world, total * (rank + 1) // world


@functools.lru_cache(maxsize=2)
def _epoch_order(order: Order, epoch: int) -> npt.NDArray[np.int64]:
    lengths = np.array(order.shard_lengths, np.int64)
    starts = np.cumsum(lengths) - lengths
    shards = rng.permutation(len(lengths), order.seed, epoch, _SHARDS)
    window = order.window or len(shards)
    pieces = []
    for number, first in enumerate(range(0, len(shards), window)):
        together = shards[first : first + window]
        samples = _ranges(starts[together], lengths[together])
        pieces.append(samples[rng.permutation(len(samples), order.seed, epoch, number, _SAMPLES)])
    whole = np.concatenate(pieces)
    whole.setflags(write=False)
    return whole


def _ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # [start, start + length) for each pair, one after the other
    places = np.cumsum(lengths) - lengths
    return np.repeat(starts - places, lengths) + np.arange(int(lengths.sum()))
