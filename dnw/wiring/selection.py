"""Exact choice of the largest weights: the hot path of DNW, once per optimizer step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dnw.hardware.device import takes_kernels
from dnw.wiring.areas import Area, areas
from shards import rng

Weights = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Magnitudes = npt.NDArray[np.int32]  # the bits of |w|, which are ordered as |w| is, NaN above all

CHUNK = 1 << 18  # weights that are looked at together: what is computed of them stays in the cache
RUN = 16  # neighbours that a sample takes together: a line of the cache
DEVIATIONS = 6.0  # of a sample's count, by which the bound is low: weights of a run are somewhat alike


class LegalPositions:
    """Where the legal positions of a weight are, for a choice on a CPU: made once, used at each step."""

    def __init__(self, shape: Sequence[int], legal: Tensor | None) -> None:
        """Take a bool tensor of the weight's shape; None: all are legal."""
        rows = shape[0] if len(shape) > 1 else 1
        self.shape_TS = rows, math.prod(shape) // rows
        legal_TS = None if legal is None else legal.cpu().reshape(self.shape_TS)
        found = None if legal_TS is None else areas(legal_TS)
        whole = Area(0, rows, 0, self.shape_TS[1])
        self.chunks = list(itertools.chain.from_iterable(map(_chunks, found or [whole])))
        # bool [T, S], where the chunks have illegal positions, too
        self.legal_TS: Marks | None = None if legal_TS is None or found else legal_TS.numpy()
        self.sample = sample(math.prod(shape))  # places, row-major
        self.drawn = self.sample.size  # legal or not
        if legal_TS is not None:
            self.sample = self.sample[legal_TS.numpy().ravel()[self.sample]]


def largest(
    weight: Tensor,
    legal: Tensor | None,
    budget: int,
    *,
    positions: LegalPositions | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Mark the `budget` legal positions of largest magnitude, ties to the lowest (row-major) index.

    Never waits for a GPU.

    Args:
        weight: of any shape, without NaN.
        legal: bool of the same shape, at least `budget` of them True; None: all.
        budget: how many positions are marked.
        positions: of this shape and `legal`: with it a CPU need not look at the illegal ones each time.
        out: memory for the result, which may then be what is returned.

    Returns:
        a bool tensor of the weight's shape, the same on every device and in every memory format.
    """
    if out is None or not out.is_contiguous():
        out = torch.empty(weight.shape, dtype=torch.bool, device=weight.device)
    if takes_kernels(weight.device):
        return _largest_by_kernels(weight, legal, budget, out)
    if weight.device.type != "cpu":  # torch.topk finds the threshold
        if budget == 0:
            return out.zero_()
        marks = None if legal is None else legal.flatten()
        return _largest_on_device(weight.flatten(), marks, budget).view(weight.shape)
    out.zero_()
    if budget:
        positions = positions or LegalPositions(weight.shape, legal)
        weights_TS = weight.float().reshape(positions.shape_TS).numpy()
        out.view(-1).numpy()[_largest_on_cpu(weights_TS, positions, budget)] = True
    return out


def largest_of_rows(weight: Tensor, legal: Tensor | None, budgets: Tensor, most: int) -> Tensor:
    """Mark the `budgets[r]` legal positions of largest magnitude in each row r, the first dimension.

    Args:
        weight: as in `largest`, of two dimensions or more.
        legal: as in `largest`.
        budgets: int64 [rows].
        most: the largest of them, which is given since reading it would wait for a GPU.

    Returns:
        as `largest`.
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


def _largest_on_cpu(weights_TS: Weights, positions: LegalPositions, budget: int) -> Places:
    places, sizes = _reaching(_likely_bound(weights_TS.ravel(), positions, budget), weights_TS, positions)
    if places.size < budget:
        places, sizes = _reaching(0, weights_TS, positions)  # the sample was unlike the rest
    threshold = np.partition(sizes, -budget)[-budget]
    chosen: Places = places[sizes >= threshold]
    if chosen.size == budget:
        return chosen
    above, tied = places[sizes > threshold], np.sort(places[sizes == threshold])
    return np.concatenate([above, tied[: budget - above.size]])


def _likely_bound(weights: Weights, positions: LegalPositions, budget: int) -> int:
    """Estimate from a sample, as Floyd and Rivest do, a magnitude that a few more than `budget` reach.

    The last step's threshold would be no better a guess: in the first steps it is off by a tenth and more.
    """
    rank = budget * positions.drawn / weights.size  # of the threshold in the sample
    beyond = math.ceil(rank + DEVIATIONS * math.sqrt(rank))
    if beyond >= positions.sample.size:
        return 0
    return int(np.partition(np.abs(weights[positions.sample]).view(np.int32), -beyond - 1)[-beyond - 1])


def sample(entries: int) -> Places:
    """Draw places among `entries`, always the same: about 2 * entries^(2/3) of them, in runs."""
    runs = rng.bits(n=1 + round(2 * entries ** (2 / 3) / RUN)) % np.uint64(-(-entries // RUN))
    places = (runs.astype(np.int64)[:, None] * RUN + np.arange(RUN)).ravel()
    within: Places = places[places < entries]  # the last run may be a short one
    return within


def _reaching(low: int, weights_TS: Weights, positions: LegalPositions) -> tuple[Places, Magnitudes]:
    """Find the legal weights with magnitudes from `low` on: their places and their magnitudes."""
    room, beyond = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.bool_)
    places, sizes = [], []
    for part in positions.chunks:
        rows, columns = slice(part.top, part.bottom), slice(part.left, part.right)
        chunk_TS = weights_TS[rows, columns]
        count, (_, width) = chunk_TS.size, chunk_TS.shape
        np.abs(chunk_TS, out=room[:count].reshape(chunk_TS.shape))
        size = room[:count].view(np.int32)
        reaches = np.greater_equal(size, low, out=beyond[:count])
        if positions.legal_TS is not None:
            reaches &= positions.legal_TS[rows, columns].ravel()
        found = np.flatnonzero(reaches)
        sizes.append(size[found])
        found += found // width * (weights_TS.shape[1] - width)
        found += part.top * weights_TS.shape[1] + part.left
        places.append(found)
    return np.concatenate(places), np.concatenate(sizes)


def _chunks(area: Area) -> Iterator[Area]:
    """Split an area into such as have CHUNK positions at most."""
    wide = min(area.right - area.left, CHUNK)
    for top in range(area.top, area.bottom, CHUNK // wide):
        for left in range(area.left, area.right, wide):
            bottom, right = min(top + CHUNK // wide, area.bottom), min(left + wide, area.right)
            yield Area(top, bottom, left, right)


def _largest_by_kernels(weight: Tensor, legal: Tensor | None, budget: int, out: Tensor) -> Tensor:
    from dnw.wiring.selection_gpu import mark_largest  # noqa: PLC0415 (a CPU needs none, and may lack triton)

    if budget == 0:
        return out.zero_()
    mark_largest(weight.flatten().float(), None if legal is None else legal.flatten(), budget, out.view(-1))
    return out


def _largest_on_device(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    size = weight.abs()
    if legal is not None:
        size.masked_fill_(~legal, -1)
    threshold = torch.topk(size, budget, sorted=False).values.amin()
    above = size > threshold
    tied = size == threshold
    wanted = budget - above.count_nonzero()
    return above | (tied & (tied.cumsum(0, dtype=torch.int32) <= wanted))
