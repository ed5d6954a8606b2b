"""The legal positions of a matrix as rectangles, so that the rest need not be looked at."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Area(NamedTuple):
    """A rectangle of a matrix; `bottom` and `right` are the first row and column after it."""

    top: int
    bottom: int
    left: int
    right: int


def areas(legal_TS: Tensor, most: int = 64) -> list[Area] | None:
    """Split the True positions of a bool matrix into rectangles, as wide ones as there are.

    They come from top to bottom, and from left to right. Returns None if it takes more than `most`: looking
    at each by itself would gain nothing.
    """
    bands = _ends((legal_TS[1:] == legal_TS[:-1]).all(1))
    if len(bands) > most:
        return None
    found: list[Area] = []
    for top, bottom in pairwise(bands):
        row_S = legal_TS[top]
        for left, right in pairwise(_ends(row_S[1:] == row_S[:-1])):
            if row_S[left]:
                found.append(Area(top, bottom, left, right))
    return found if len(found) <= most else None


def _ends(stays: Tensor) -> list[int]:
    """Where runs of equal entries begin, and where the last ends; `stays` tells it of each but the first."""
    return [0, *(1 + torch.nonzero(~stays).flatten()).tolist(), len(stays) + 1]
