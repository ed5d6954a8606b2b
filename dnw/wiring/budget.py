"""How many edges a graph of a given width may have, or a weight of a given sparsity.

`dense` is the number of weights in the dense layers that a graph stands in for. Each keeps width**power of
them: power 2 where a thinner network has both fewer inputs and fewer outputs, as MobileNetV1 with a width
multiplier (paper, experiments on ImageNet); power 1 where the width is simply the share that is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def budget(width: float, dense: int, power: int) -> int:
    """Return how many edges a graph may have: width**power * dense, rounded up.

    Computed from the decimal digits of the width, since the binary fraction next to 0.05 may lie above it
    and would round up to an edge too many.

    Args:
        width: the width multiplier, above 0.
        dense: edges of the dense graph.
        power: 1 or 2: whether edges grow as the width or as its square.
    """
    return math.ceil(Fraction(str(width)) ** power * dense)


def remaining(sparsity: float, weights: int) -> int:
    """Return how many of a number of weights are left when the share `sparsity` is removed, rounded up."""
    return math.ceil((1 - Fraction(str(sparsity))) * weights)


def erk(budget: int, shapes: Sequence[Sequence[int]]) -> list[int]:
    """Share a budget among weights in proportion to the sum of their dimensions; it is used up exactly.

    The Erdos-Renyi-Kernel rule (Evci et al. 2020, section 3): so large ones are sparser than small ones, and
    a weight that can't hold its share is dense. What is left after rounding down goes to the largest
    remainders, ties to the first weight.
    """
    sizes, sums = [math.prod(shape) for shape in shapes], [sum(shape) for shape in shapes]
    dense: set[int] = set()
    while True:
        sparse = [number for number in range(len(shapes)) if number not in dense]
        left = budget - sum(sizes[number] for number in dense)
        total = sum(sums[number] for number in sparse)
        too_large = {number for number in sparse if left * sums[number] >= total * sizes[number]}
        if not too_large:
            break
        dense |= too_large
    found = [
        sizes[number] if number in dense else left * sums[number] // total for number in range(len(sizes))
    ]
    by_remainder = sorted(sparse, key=lambda number: -(left * sums[number] % total))  # stable
    for number in by_remainder[: budget - sum(found)]:
        found[number] += 1
    return found


def reference_quota(width: float, dense: int, power: int) -> float:
    """Return the same before rounding, off by the rounding errors of the paper's code.

    It is configured by the share to remove, so its width is 1 - (1 - width).

    Args:
        width: share of the edges that stay, 0 to 1.
        dense: edges that there could be.
        power: of the width.
    """
    return math.pow(1 - (1 - width), power) * dense


def widest(legal: int, dense: int, power: int) -> float:
    """Return the largest width, in thousandths, whose budget fits into `legal` edges.

    Args:
        legal: edges that there may be.
        dense: edges that there could be.
        power: of the width.
    """
    return math.floor(1000 * math.pow(min(1.0, legal / dense), 1 / power)) / 1000
