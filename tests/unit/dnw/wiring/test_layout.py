"""Which edges are legal, and how many a width allows."""

from __future__ import annotations

import example
import pytest
import torch

from dnw.models.graph import Graph
from dnw.wiring import Layout
from dnw.wiring.budget import budget, reference_quota, widest

BLOCK = Layout((3, 4, 4, 4), rows=12, columns=11, outputs=4)  # as in the MobileNetV1-like network
SQUARE = Layout((3, 5, 5), rows=13, columns=13, outputs=2)  # as in the static one


def test_block_leads_from_each_layer_to_all_later_ones() -> None:
    assert BLOCK.first_target == 3
    assert BLOCK.legal()[::4].int().tolist() == [[1] * 3 + [0] * 8, [1] * 7 + [0] * 4, [1] * 11]


def test_square_leads_from_its_last_layer_to_the_outputs() -> None:
    legal = SQUARE.legal().int().tolist()
    assert legal[:3] == [[0] * 13] * 3
    assert legal[3:8] == [[1] * 3 + [0] * 10] * 5
    assert legal[8:11] == [[1] * 8 + [0] * 5] * 3
    assert legal[11:] == [[1] * 13] * 2


@pytest.mark.parametrize("layout", [BLOCK, SQUARE], ids=["block", "square"])
def test_network_computes_exactly_the_legal_edges(layout: Layout) -> None:
    """Signals along all edges, against one sum per node; every legal edge has a say, no other has."""
    graph = Graph(example.train(wiring__name="complete"), 0, layout, dense=1, power=1).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.double)
    weight = graph.weight.detach().squeeze().requires_grad_()
    graph_out = graph.propagate(x, lambda layer, received: received + layer)

    nodes = list(x.unbind(1))
    for layer, (start, stop) in enumerate(layout.spans[1:], 1):
        rows = range(start - layout.first_target, stop - layout.first_target)
        nodes += [sum(weight[row, s] * nodes[s] for s in range(start)) + layer for row in rows]  # type: ignore[misc]
    outputs = [
        sum(weight[row, s] * nodes[s] for s in range(layout.columns))
        for row in range(layout.rows - layout.outputs, layout.rows)
    ]
    expected = torch.stack(outputs, 1)  # type: ignore[arg-type]
    torch.testing.assert_close(graph_out, expected)

    expected.square().sum().backward()
    graph_out.square().sum().backward()
    gradient = graph.parametrizations.weight.original.grad.squeeze()
    torch.testing.assert_close(gradient, weight.grad * layout.legal())
    assert torch.equal(gradient != 0, layout.legal())


def test_budget_rounds_up_in_decimals() -> None:
    # the golden file's blocks at width 0.225, and shares that binary fractions would round up by one
    dense = (2048, 24576, 98304, 1441792, 1572864)
    assert [budget(0.225, d, 2) for d in dense] == [104, 1245, 4977, 72991, 79627]
    assert budget(0.05, 640_000, 1) == 32_000
    assert budget(0.1, 30, 1) == 3
    assert budget(1.0, 77, 2) == 77


def test_reference_quota_has_the_rounding_errors_of_the_papers_code() -> None:
    assert int(reference_quota(0.225, 1_024_000, 1)) == 230_399


def test_widest_width_fits_and_the_next_does_not() -> None:
    limit = widest(264_960, 640_000, 1)
    assert budget(limit, 640_000, 1) <= 264_960 < budget(limit + 0.001, 640_000, 1)
    assert widest(100, 10, 2) == 1.0
