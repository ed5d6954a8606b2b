"""Exact choice of the largest weights: the hot path of DNW, once per optimizer step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Sizes = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]
NEAR = 0.01  # of a threshold, in which the next one is looked for: a step rarely moves it by a thousandth


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


class Selector:
    """Chooses among the weights of one matrix again and again, as they change: each time as `largest` does.

    On a CPU it looks for the threshold near the last one first, and it keeps its memory, six bytes a weight,
    since new memory costs more than filling it. What it chooses does not depend on either.
    """

    def __init__(self) -> None:
        self._last: np.float32 | None = None
        self._room: _Room | None = None

    def largest(self, weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
        """Mark the `budget` legal positions of largest magnitude, see the function of this name.

        What is returned is overwritten by the next call.
        """
        if budget == 0 or weight.device.type != "cpu":
            return largest(weight, legal, budget)
        if self._room is None or self._room.size.size != weight.numel():
            self._room = _Room.of(weight.numel())
        chosen, self._last = _choose(weight.flatten(), _flat(legal), budget, self._room, self._last)
        return torch.from_numpy(chosen).view(weight.shape)


class _Room(NamedTuple):
    """Memory that a choice needs."""

    size: Sizes
    above: Marks
    band: Marks

    @classmethod
    def of(cls, entries: int) -> _Room:
        return cls(np.empty(entries, np.float32), np.empty(entries, np.bool_), np.empty(entries, np.bool_))


def _largest_on_cpu(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    chosen, _ = _choose(weight, _flat(legal), budget, _Room.of(weight.numel()), None)
    return torch.from_numpy(chosen)


def _flat(legal: Tensor | None) -> Marks | None:
    return None if legal is None else legal.flatten().numpy()


def _choose(
    weight: Tensor, legal: Marks | None, budget: int, room: _Room, last: np.float32 | None
) -> tuple[Marks, np.float32]:
    """The choice, in the room's memory, and its threshold: the `budget`-th largest legal magnitude."""
    size = np.abs(weight.float().numpy(), out=room.size)
    threshold = None if last is None else _threshold_near(last, legal, budget, room)
    if threshold is None:
        # numpy's quickselect and boolean index take a tenth of the time of torch's. Illegal entries are taken
        # out first: given one and the same small value instead, these ties would slow it down fifty-fold.
        among = size if legal is None else size[legal]
        threshold = np.partition(among, among.size - budget)[among.size - budget]
    chosen = np.greater_equal(size, threshold, out=room.band)
    if legal is not None:
        chosen &= legal
    surplus = np.count_nonzero(chosen) - budget
    if surplus:
        chosen[np.flatnonzero(chosen & (size == threshold))[-surplus:]] = False
    return chosen, threshold


def _threshold_near(last: np.float32, legal: Marks | None, budget: int, room: _Room) -> np.float32 | None:
    """The threshold, if it is within a share of NEAR of the last one; else None."""
    above = np.greater(room.size, last * np.float32(1 + NEAR), out=room.above)
    band = np.greater_equal(room.size, last * np.float32(1 - NEAR), out=room.band)
    band ^= above
    if legal is not None:
        above &= legal
        band &= legal
    wanted = budget - np.count_nonzero(above)
    among = np.compress(band, room.size)  # so few that an index by places is faster than one by marks
    if not 0 < wanted <= among.size:
        return None
    found: np.float32 = np.partition(among, among.size - wanted)[among.size - wanted]
    return found


def _largest_on_device(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    size = weight.abs()
    if legal is not None:
        size.masked_fill_(~legal, -1)
    threshold = torch.topk(size, budget, sorted=False).values.amin()
    above = size > threshold
    tied = size == threshold
    wanted = budget - above.count_nonzero()
    return above | (tied & (tied.cumsum(0, dtype=torch.int32) <= wanted))
