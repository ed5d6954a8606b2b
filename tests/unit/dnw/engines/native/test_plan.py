"""Where everything lies in the memory of the native engine, and who computes it."""

from __future__ import annotations

import itertools

import pytest

from dnw.compact import Compact
from dnw.engines.native import plan as plan_module
from dnw.engines.native.plan import plan
from dnw.engines.native.vector import TOGETHER


def test_threads_share_the_targets_of_every_phase(network: Compact) -> None:
    found = plan(network.arrays(), threads=3)
    sizes = [len(network.stem.bias), *(sums.count for block in network.blocks for sums in block.sums)]
    assert (found.team.shares[:, -1] - found.team.shares[:, 0]).tolist() == sizes
    assert (found.team.shares[1:, 0] == found.team.shares[:-1, -1]).all()
    assert (found.team.shares[:, 1:] >= found.team.shares[:, :-1]).all()


def test_pixels_lie_in_pairs_where_targets_have_many_edges(
    network: Compact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "EDGES_OF_SHARED", 4)
    monkeypatch.setattr(plan_module, "EDGES", 4)
    averages = [
        sum(len(sums.sources) for sums in block.sums) / sum(sums.count for sums in block.sums)
        for block in network.arrays().blocks
    ]
    found = plan(network.arrays(), threads=1, is_paired=True)
    stages = [
        average >= 4 for average, block in zip(averages, network.blocks, strict=True) for _ in block.sums
    ]
    assert found.phases["reads_pairs"].tolist() == [0, *stages]
    assert found.phases["gives_pairs"].tolist() == [*stages, 0]
    assert not plan(network.arrays(), threads=1).phases["reads_pairs"].any()


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
