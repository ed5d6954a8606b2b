"""Where everything lies in the memory of the native engine, and who computes it."""

from __future__ import annotations

from dnw.compact import Compact
from dnw.engines.native.plan import plan


def test_threads_share_the_targets_of_every_phase(network: Compact) -> None:
    found = plan(network.arrays(), threads=3)
    sizes = [len(network.stem.bias), *(sums.count for block in network.blocks for sums in block.sums)]
    assert (found.shares[:, -1] - found.shares[:, 0]).tolist() == sizes
    assert (found.shares[1:, 0] == found.shares[:-1, -1]).all()
    assert (found.shares[:, 1:] >= found.shares[:, :-1]).all()
