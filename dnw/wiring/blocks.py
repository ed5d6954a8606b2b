"""Edges in blocks: neighbouring targets that share their sources (`wiring.block`).

A processor reads a source once for all targets of a block, which is what makes sparse products fast; single
edges are what the paper chooses. A block is `size` neighbouring rows of a weight at one place of all other
dimensions; the last rows may be fewer. It is chosen by the sum of its legal magnitudes, whole, but for the
last one, of which the first rows fill up the budget: so the budget is met to the edge, as by single edges.

Shapes: T rows, S places in all other dimensions, G = ceil(T / size) groups of rows. *By blocks* is the order
[G, S, size], flat: the positions of a block side by side, with positions that aren't there at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def by_blocks(values: Tensor, size: int) -> Tensor:
    """Return values of a weight's shape by blocks, [G * S * size]; what isn't there is 0."""
    rows_TS = values.flatten(1) if values.ndim > 1 else values[:, None]
    padded = F.pad(rows_TS, (0, 0, 0, -len(rows_TS) % size))
    return padded.reshape(-1, size, rows_TS.shape[1]).transpose(1, 2).flatten()


def from_blocks(flat: Tensor, shape: Sequence[int], size: int) -> Tensor:
    """Undo `by_blocks`.

    Args:
        flat: its result, one dimension.
        shape: of the values as they were, targets first.
        size: targets in a block.
    """
    groups = -(-shape[0] // size)
    rows_TS = flat.reshape(groups, -1, size).transpose(1, 2).reshape(groups * size, -1)
    return rows_TS[: shape[0]].reshape(tuple(shape))


def there(shape: Sequence[int], legal: Tensor | None, size: int) -> Tensor | None:
    """Mark by blocks the positions that there are and that are legal, bool; None: all.

    Args:
        shape: of the weight.
        legal: which positions may have an edge, bool of that shape; None: all.
        size: side of a block, positions.
    """
    if legal is None and shape[0] % size == 0:
        return None
    return by_blocks(torch.ones(tuple(shape), dtype=torch.bool) if legal is None else legal, size)


def scores(weight: Tensor, legal: Tensor | None, size: int) -> Tensor:
    """Return for each position by blocks the sum of its block's legal magnitudes, float32.

    Added up in the order of the rows, so that it is the same on every device.

    Args:
        weight: of any shape, targets first.
        legal: where edges may be, bool, as the weight; None: everywhere.
        size: targets in a block.
    """
    magnitudes = weight.detach().float().abs()
    if legal is not None:
        magnitudes = magnitudes.where(legal, 0)
    members = by_blocks(magnitudes, size).view(-1, size)
    total = members[:, 0].clone()
    for member in range(1, size):
        total += members[:, member]
    return total[:, None].expand(-1, size).flatten()
