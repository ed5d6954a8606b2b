"""The compact form itself: edges as rows and as a matrix, and copies of another type."""

from __future__ import annotations

import numpy as np
import torch
from drawn_compact import some_network

from dnw.compact import Compact, Head, Sums

# target 0 receives 2 * node 0 - node 2, target 1 receives 3 * node 1 and a map
SUMS = Sums(
    columns=3,
    starts=torch.tensor([0, 2, 3], dtype=torch.int32),
    sources=torch.tensor([0, 2, 1], dtype=torch.int32),
    weights=torch.tensor([2.0, -1.0, 3.0]),
    bias=torch.tensor([0.5, 0.0]),
    mapped=torch.tensor([1], dtype=torch.int32),
    maps=torch.ones(1, 4, 4),
)


def test_edges_as_a_matrix() -> None:
    assert SUMS.count == 2
    assert SUMS.targets().tolist() == [0, 0, 1]
    assert SUMS.dense().tolist() == [[2, 0, -1], [0, 3, 0]]


def test_a_copy_of_another_type_leaves_indices_and_the_original() -> None:
    network = some_network(9, 1, 2, normed=True)
    wide = network.to(dtype=torch.float64)
    sums, norm = wide.blocks[1].sums[0], wide.blocks[0].layers[0].norm
    assert norm is not None
    assert (sums.weights.dtype, sums.maps.dtype, norm.scale.dtype) == (torch.float64,) * 3
    assert (sums.starts.dtype, sums.sources.dtype, sums.mapped.dtype) == (torch.int32,) * 3
    assert network.blocks[1].sums[0].weights.dtype == torch.float32
    assert torch.equal(wide.head.weight.float(), network.head.weight)
    assert wide.device == torch.device("cpu")


def test_arrays_and_back() -> None:
    network = some_network(9, 1, 2, normed=True)
    arrays = network.arrays()
    assert isinstance(arrays.blocks[1].sums[0].sources, np.ndarray)
    assert np.shares_memory(arrays.head.weight, network.head.weight.numpy())
    again = arrays.tensors()
    assert again.blocks[0].layers[0].stride == network.blocks[0].layers[0].stride
    assert again.blocks[1].sums[0].sources.equal(network.blocks[1].sums[0].sources)
    assert again.head.weight.dtype == torch.float32


def test_a_network_without_a_path_gives_its_bias() -> None:
    head = Head(rectified=True, corner=0, window=1, weight=torch.empty(2, 0), bias=torch.tensor([1.0, -2.0]))
    logits_BK = Compact(8, None, (), head).constant(torch.zeros(3, 3, 8, 8))
    assert logits_BK.tolist() == [[1, -2]] * 3
