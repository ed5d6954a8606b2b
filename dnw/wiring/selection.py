"""Exact choice of the largest weights: the hot path of DNW, once per optimizer step."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shards import rng

Weights = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]
Magnitudes = npt.NDArray[np.int32]  # the bits of |w|, which are ordered as |w| is, NaN above all

CHUNK = 1 << 17  # weights that are looked at together: what is computed of them stays in the cache
DEVIATIONS = 4.0  # of a sample's count, within which the threshold is looked for: it is missed once in 10,000
_MOST = 2**31 - 1  # no magnitude is larger


def largest(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    """Mark the `budget` legal positions of largest magnitude, ties to the lowest (row-major) index.

    Returns a bool tensor of the weight's shape, the same on every device and in every memory format. Needs
    at least `budget` legal positions and no NaN. Never waits for a GPU.
    """
    if budget == 0:
        return torch.zeros(weight.shape, dtype=torch.bool, device=weight.device)
    choose = _largest_on_cpu if weight.device.type == "cpu" else _largest_on_device
    return choose(weight.flatten(), None if legal is None else legal.flatten(), budget).view(weight.shape)


def largest_of_rows(weight: Tensor, legal: Tensor | None, budgets: Tensor, most: int) -> Tensor:
    """Mark the `budgets[r]` legal positions of largest magnitude in each row r, the first dimension.

    `budgets` is int64 [rows], `most` its largest entry, which is given since reading it would wait for a GPU.
    Otherwise as `largest`.
    """
    size = weight.abs().flatten(1)
    if legal is not None:
        size.masked_fill_(~legal.flatten(1), -1)
    falling = torch.topk(size, max(most, 1), dim=1).values
    threshold = falling.gather(1, (budgets - 1).clamp(min=0)[:, None])  # a row without budget: wants 0 below
    above = size > threshold
    tied = size == threshold
    wanted = budgets[:, None] - above.sum(1, keepdim=True)
    return (above | (tied & (tied.cumsum(1, dtype=torch.int32) <= wanted))).view(weight.shape)


class _Band(NamedTuple):
    """What lies at a band of magnitudes and above it."""

    marks: Marks  # of all weights: those in the band or above it
    places: npt.NDArray[np.int64]  # of those in the band, rising
    magnitudes: Magnitudes  # of the same
    above: int  # how many are above it


def _largest_on_cpu(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    weights, marks = weight.float().numpy(), None if legal is None else legal.numpy()
    band = _band(weights, marks, *_likely_bounds(weights, marks, budget))
    if not 0 < budget - band.above <= band.places.size:
        band = _band(weights, marks, 0, _MOST)  # the sample was unlike the rest
    wanted = budget - band.above
    threshold = np.partition(band.magnitudes, -wanted)[-wanted]
    tied = band.places[band.magnitudes == threshold]
    surplus = np.count_nonzero(band.magnitudes >= threshold) - wanted
    band.marks[band.places[band.magnitudes < threshold]] = False
    band.marks[tied[tied.size - surplus :]] = False
    return torch.from_numpy(band.marks)


def _likely_bounds(weights: Weights, legal: Marks | None, budget: int) -> tuple[int, int]:
    """Two magnitudes between which the threshold very likely is: from a sample, as Floyd and Rivest select.

    The last step's threshold would be no better a guess: in the first steps it is off by a tenth and more.
    """
    drawn = sample(weights.size)
    rank = budget * drawn.size / weights.size  # of the threshold in the sample
    if legal is not None:
        drawn = drawn[legal[drawn]]
    rising = np.sort(_magnitudes(weights[drawn]))
    slack = DEVIATIONS * math.sqrt(rank)
    low, high = rising.size - math.ceil(rank + slack) - 1, rising.size - math.floor(rank - slack)
    return int(rising[low]) if low >= 0 else 0, int(rising[high]) if high < rising.size else _MOST


def sample(entries: int) -> npt.NDArray[np.uint64]:
    """Draw places among `entries`, always the same: entries^(2/3) / 2 of them, which cost next to nothing."""
    return rng.bits(n=1 + round(entries ** (2 / 3) / 2)) % np.uint64(entries)


def _band(weights: Weights, legal: Marks | None, low: int, high: int) -> _Band:
    """Find the legal weights with magnitudes from `low` to `high`, and mark them and those above."""
    marks = np.empty(weights.size, np.bool_)
    room, beyond = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.bool_)
    places, magnitudes, above = [], [], 0
    for start in range(0, weights.size, CHUNK):
        chunk = weights[start : start + CHUNK]
        size = _magnitudes(chunk, room[: chunk.size])
        reached = np.greater_equal(size, low, out=marks[start : start + CHUNK])
        passed = np.greater(size, high, out=beyond[: chunk.size])
        if legal is not None:
            reached &= legal[start : start + CHUNK]
            passed &= legal[start : start + CHUNK]
        above += int(np.count_nonzero(passed))
        passed ^= reached
        found = np.flatnonzero(passed)
        places.append(found + start)
        magnitudes.append(size[found])
    return _Band(marks, np.concatenate(places), np.concatenate(magnitudes), above)


def _magnitudes(weights: Weights, room: Weights | None = None) -> Magnitudes:
    return np.abs(weights, out=room).view(np.int32)


def _largest_on_device(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    size = weight.abs()
    if legal is not None:
        size.masked_fill_(~legal, -1)
    threshold = torch.topk(size, budget, sorted=False).values.amin()
    above = size > threshold
    tied = size == threshold
    wanted = budget - above.count_nonzero()
    return above | (tied & (tied.cumsum(0, dtype=torch.int32) <= wanted))
