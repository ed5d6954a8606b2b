"""Where everything lies in the memory of the native engine, and who computes it."""

from __future__ import annotations

import itertools

from dnw.compact import Compact
from dnw.engines.native.plan import plan
from dnw.engines.native.vector import TOGETHER


def test_threads_share_the_targets_of_every_phase(network: Compact) -> None:
    found = plan(network.arrays(), threads=3)
    sizes = [len(network.stem.bias), *(sums.count for block in network.blocks for sums in block.sums)]
    assert (found.team.shares[:, -1] - found.team.shares[:, 0]).tolist() == sizes
    assert (found.team.shares[1:, 0] == found.team.shares[:-1, -1]).all()
    assert (found.team.shares[:, 1:] >= found.team.shares[:, :-1]).all()


def test_targets_with_the_same_sources_are_counted(network: Compact) -> None:
    assert network.stem is not None
    stem = len(network.stem.bias)
    found = plan(network.arrays(), threads=1).targets.alike.tolist()
    assert found[:stem] == [min(stem - target, TOGETHER) for target in range(stem)]
    assert set(found) <= set(range(1, TOGETHER + 1))
    sums = network.blocks[0].sums[0]
    rows = [sums.sources[a:b].tolist() for a, b in itertools.pairwise(sums.starts.tolist())]
    for target, (one, other) in enumerate(itertools.pairwise(rows)):
        if not {target, target + 1} & set(sums.mapped.tolist()):
            assert (found[stem + target] > 1) == (one == other)
