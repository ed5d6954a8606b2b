"""What nobody reads is removed."""

from __future__ import annotations

import pytest
import torch
from drawn_networks import (
    Oddity,
    drawn,
    error,
    images,
    one_thread,  # noqa: F401
)
from torch import Tensor, nn

from dnw.compact import Compact, compact
from dnw.compact.check import check
from dnw.engines import build
from dnw.wiring import edges_of, raw_weight

pytestmark = pytest.mark.usefixtures("one_thread")


def logits(network: Compact, images_BCHW: Tensor) -> Tensor:
    return build("compact", network, network.image_size)(images_BCHW)


def test_unread_and_unreached_nodes_are_gone() -> None:
    network = drawn("mobilenet", 32, oddity=Oddity(density=0.3, unread=0.5, unfed=0.5))
    left = compact(network, 32)
    full = compact(drawn("mobilenet", 32, oddity=Oddity(density=1.0)), 32)
    nodes, all_nodes = (
        [sum(layer.count for layer in block.layers) for block in one.blocks] for one in (left, full)
    )
    assert all_nodes == [32, 192, 384, 2816, 1536]
    assert all(few < 0.7 * many for few, many in zip(nodes, all_nodes, strict=True))


def _keep_one_edge(network: nn.Module, rows_columns: list[tuple[int, int]]) -> None:
    for (graph, edges), (row, column) in zip(edges_of(network).values(), rows_columns, strict=True):
        raw_weight(graph).data.fill_(3)
        edges.mask.zero_()
        edges.mask[row, column] = True


def _let_all_through(network: nn.Module) -> None:
    """Shift what norms give out so far that no ReLU cuts it."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.fill_(5)
                module.weight.fill_(1)


@pytest.mark.parametrize("size", [32, 37])
def test_a_single_path(size: int) -> None:
    network = drawn("mobilenet", size)
    # row 3 of block 0 is its output 3; in the others the outputs are the last rows, input 3 is column 3
    _let_all_through(network)
    _keep_one_edge(network, [(3, 7), (128 + 5, 3), (256 + 6, 5), (2560 + 8, 6), (1024 + 9, 8)])
    left = compact(network, size)
    check(left.arrays())
    assert [len(sums.weights) for block in left.blocks for sums in block.sums] == [1] * 5
    assert left.stem is not None
    assert left.stem.filters.shape == (1, 3, 3, 3)
    x = images(3, size)
    with torch.no_grad():
        expected = network(x)
    assert len(expected.unique(dim=0)) == 3  # the path carries something
    assert error(logits(left, x), expected) < 1e-5
