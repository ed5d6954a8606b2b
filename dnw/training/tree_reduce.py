"""A sum over the micro-batches of a step in one order, whatever the number of processes.

Floating-point addition commutes to the bit, but isn't associative: the order is what has to be fixed. Of the
M = odd * 2**k micro-batches `odd` consecutive ones are added one after the other; of these sums neighbours
are added two and two, in k levels. P processes, a power of two that divides M, each hold M/P consecutive
micro-batches, which is a whole subtree, so that only the upper log2(P) levels lie across processes.

These are done by recursive halving: at each level a process sends one half of what it answers for to its
partner and adds the partner's other half to its own; then the parts are gathered the same way back. Every
entry goes through the same tree as if whole vectors were exchanged at each level, which would send
n*log2(P) entries from each process: this sends 2*n*(P-1)/P, the least possible. The first level, between
neighbours, who mostly share a node, takes half of it; each next one half of the one before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from dnw.training.distributed import World


class _Level(NamedTuple):
    """What a process exchanges with another at a level, as views."""

    partner: int
    kept: torch.Tensor  # what it answers for from here on
    given: torch.Tensor  # what the partner does
    received: torch.Tensor  # memory for the partner's summands of `kept`


class TreeSum:
    """Sums what is left in a vector after each micro-batch, in place."""

    def __init__(self, vector: torch.Tensor, micro_batches: int, world: World) -> None:
        """`vector` [n] receives the summands and the sum; no memory is taken after this.

        Args:
            vector: flat, contiguous.
            micro_batches: of all processes together.
            world: the processes.

        Raises:
            ValueError: so many can't share the micro-batches; see dnw.processes.check_processes.
        """
        odd = micro_batches // (micro_batches & -micro_batches)
        share, rest = divmod(micro_batches, odd * world.size)
        if rest or world.size & (world.size - 1):
            raise ValueError(f"{world.size} processes can't share a tree over {micro_batches} micro-batches")
        self._vector = vector
        self._world = world
        radices = [odd, *[2] * (share.bit_length() - 1)]
        self._partial = [(radix, torch.empty_like(vector)) for radix in radices if radix > 1]
        self._levels = self._laid_out()

    def add(self, number: int) -> None:
        """Take what the vector holds as summand `number` (from 0) of this process.

        After the last one the vector holds the sum of all of them; in between, nothing to rely on.
        """
        for radix, partial in self._partial:
            number, place = divmod(number, radix)
            if place == 0:
                partial.copy_(self._vector)
                return
            if place < radix - 1:
                partial.add_(self._vector)
                return
            self._vector.add_(partial)

    def across(self) -> None:
        """Add up the sums of all processes, together: each then has the same bits."""
        for partner, kept, given, received in self._levels:
            self._world.exchange(partner, given, received)
            kept.add_(received)
        for partner, kept, given, _ in reversed(self._levels):
            self._world.exchange(partner, kept, given)

    def _laid_out(self) -> list[_Level]:
        part, levels = self._vector, list[_Level]()
        if self._world.size > 1:  # partial sums are done with by then
            memory = self._partial[0][1] if self._partial else torch.empty_like(part[: (len(part) + 1) // 2])
        for level in range(self._world.size.bit_length() - 1):
            partner = self._world.rank ^ 1 << level
            kept, given = part[: len(part) // 2], part[len(part) // 2 :]
            if partner < self._world.rank:
                kept, given = given, kept
            levels.append(_Level(partner, kept, given, memory[: len(kept)]))
            part = kept
        return levels
