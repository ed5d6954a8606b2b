import torch

from dnw.compact.form import CompactNodes, InstanceNorm, Stem, Sums
from dnw.compact.selection import has_edge, select_nodes, select_stem, select_sums, with_maps


def sums() -> Sums:
    """Targets 0 to 2 of sources 0 to 3: 0 <- 1, 3; 1 <- nothing; 2 <- 0, and a map."""
    return Sums(
        columns=4,
        starts=torch.tensor([0, 2, 2, 3], dtype=torch.int32),
        sources=torch.tensor([1, 3, 0], dtype=torch.int32),
        weights=torch.tensor([0.1, 0.3, 2.0]),
        bias=torch.tensor([10.0, 11.0, 12.0]),
        mapped=torch.tensor([2], dtype=torch.int32),
        maps=torch.full((1, 2, 2), 5.0),
    )


def test_sums_of_some_targets_from_some_sources() -> None:
    found = select_sums(sums(), torch.tensor([True, False, True]), torch.tensor([True, False, False, True]))
    assert (found.columns, found.starts.tolist(), found.sources.tolist()) == (2, [0, 1, 2], [1, 0])
    assert torch.equal(found.weights, torch.tensor([0.3, 2.0]))
    assert (found.bias.tolist(), found.mapped.tolist(), len(found.maps)) == ([10.0, 12.0], [1], 1)


def test_targets_with_an_edge() -> None:
    assert has_edge(sums()).tolist() == [True, False, True]


def test_an_even_map_is_a_bias() -> None:
    maps = torch.zeros(3, 2, 2)
    maps[0], maps[1, 0, 1] = 4.0, 1.0
    found = with_maps(sums(), maps)
    assert found.bias.tolist() == [14.0, 11.0, 12.0]
    assert (found.mapped.tolist(), found.maps.tolist()) == ([1], [[[0.0, 1.0], [0.0, 0.0]]])


def test_nodes_and_stem() -> None:
    keep = torch.tensor([False, True])
    filters = torch.arange(18.0).view(2, 3, 3)
    norm = InstanceNorm(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), 1e-5)
    nodes = select_nodes(CompactNodes(filters, 2, norm), keep)
    assert torch.equal(nodes.filters, filters[1:])
    assert nodes.norm is not None
    assert (nodes.stride, nodes.norm.scale.tolist(), nodes.norm.shift.tolist()) == (2, [2.0], [4.0])
    stem = select_stem(Stem(torch.zeros(2, 3, 3, 3), torch.tensor([7.0, 8.0]), 2), keep)
    assert (len(stem.filters), stem.bias.tolist(), stem.stride) == (1, [8.0], 2)
