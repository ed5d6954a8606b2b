"""Exact choice of the largest weights: the hot path of DNW, once per optimizer step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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


def _largest_on_cpu(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    # numpy's quickselect and boolean index take a tenth of the time of torch's. Illegal entries are taken
    # out first: given one and the same small value instead, these ties would slow it down fifty-fold.
    size = np.abs(weight.float().numpy())
    among = size if legal is None else size[legal.numpy()]
    threshold = np.partition(among, among.size - budget)[among.size - budget]
    chosen = size >= threshold
    if legal is not None:
        chosen &= legal.numpy()
    surplus = np.count_nonzero(chosen) - budget
    if surplus:
        chosen[np.flatnonzero(chosen & (size == threshold))[-surplus:]] = False
    return torch.from_numpy(chosen)


def _largest_on_device(weight: Tensor, legal: Tensor | None, budget: int) -> Tensor:
    size = weight.abs()
    if legal is not None:
        size.masked_fill_(~legal, -1)
    threshold = torch.topk(size, budget, sorted=False).values.amin()
    above = size > threshold
    tied = size == threshold
    wanted = budget - above.count_nonzero()
    return above | (tied & (tied.cumsum(0, dtype=torch.int32) <= wanted))
