"""A sweep that is too large for one job array, divided so that its limit of runs at a time holds over all.

Slurm limits each array by itself (--array=0-9%2), and knows no limit over several. So the runs at a time are
divided into lanes, and the runs in proportion: the shares of all lanes add up to the limit, and lanes of
equally long runs end together. As few lanes are taken as go, each of them one array. Where more arrays are
needed than runs may go at a time, a lane is several arrays of which each waits for the one before
(--dependency=afterany); since one run at a time goes in such a lane, waiting costs nothing. Arrays that all
wait for each other would, at the end of each: the longest run keeps the others' places empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from launch.prepare import RunPlan


@dataclass(frozen=True)
class Lane:
    """Arrays of which one works at a time."""

    share: int  # runs at a time
    sizes: tuple[int, ...]  # of its arrays


def lanes(runs: int, parallelism: int, largest: int) -> list[Lane]:
    """Divide a sweep.

    Args:
        runs: how many there are.
        parallelism: how many may run at a time.
        largest: how many an array may have; 1 where there are no arrays.
    """
    for count in range(-(-runs // largest), parallelism + 1):
        shares = divided(parallelism, [1] * count)
        sizes = divided(runs, shares)
        if max(sizes) <= largest:
            return [Lane(share, (size,)) for share, size in zip(shares, sizes, strict=True) if size]
    return [
        Lane(1, tuple(divided(size, [1] * -(-size // largest)))) for size in divided(runs, [1] * parallelism)
    ]


def packs(plans: Sequence[RunPlan]) -> list[Sequence[RunPlan]]:
    """Divide runs that are launched in the same way into jobs, or elements of an array: into equal ones."""
    size = plans[0].launch.pack or 1
    ends = list(accumulate(divided(len(plans), [1] * -(-len(plans) // size)), initial=0))
    return [plans[begin:end] for begin, end in pairwise(ends)]


def divided(whole: int, weights: Sequence[int]) -> list[int]:
    """Return whole numbers in proportion to weights that add up to `whole`, each rounded up or down."""
    total = sum(weights)
    ends = [whole * weight // total for weight in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(ends)]
