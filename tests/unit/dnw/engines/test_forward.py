"""A compact network by torch, in either order of its maps."""

from __future__ import annotations

import pytest
import torch
from drawn_compact import by_torch, some_network, some_nodes
from torch import Tensor

from dnw.compact import Sums
from dnw.engines.forward import Add, Forward, PixelLayout, torch_give

LAYOUTS = pytest.mark.parametrize("layout", PixelLayout)


def matrix(sums: Sums) -> Add:
    """Return the sums of a block as a product with a matrix; maps are the forward's own."""

    def add(given_BSHW: Tensor) -> Tensor:
        return torch.einsum("ts,bshw->bthw", sums.dense(), given_BSHW) + sums.bias[:, None, None]

    return add


@LAYOUTS
@pytest.mark.parametrize("normed", [False, True])
def test_computes_what_the_compact_form_says(layout: PixelLayout, normed: bool) -> None:
    torch.manual_seed(3)
    network = some_network(9, 1, 2, normed)
    images_BCHW = torch.randn(2, 3, 9, 9)
    before = images_BCHW.clone()
    expected_BK = by_torch(network, images_BCHW)
    found_BK = Forward(network, layout, matrix)(images_BCHW)
    torch.testing.assert_close(found_BK, expected_BK, rtol=1e-4, atol=1e-4)
    assert torch.equal(images_BCHW, before)


def test_pixels_or_nodes_lie_side_by_side() -> None:
    x_BCHW = torch.randn(2, 3, 4, 4)
    by_pixel, by_node = (layout.place(x_BCHW) for layout in (PixelLayout.BY_PIXEL, PixelLayout.BY_NODE))
    assert torch.equal(by_pixel, x_BCHW)
    assert torch.equal(by_node, x_BCHW)
    assert by_pixel.stride() == (48, 1, 12, 3)
    assert by_node.stride() == (16, 32, 4, 1)


@LAYOUTS
def test_room_lies_as_the_maps_do(layout: PixelLayout) -> None:
    room_BCHW = layout.empty(torch.zeros(2, 1, 1, 1, dtype=torch.float64), 3, 4)
    assert (room_BCHW.shape, room_BCHW.dtype) == ((2, 3, 4, 4), torch.float64)
    assert room_BCHW.stride() == layout.place(torch.zeros(2, 3, 4, 4)).stride()


@LAYOUTS
@pytest.mark.usefixtures("nan_where_memory_is_new")
def test_in_bf16_no_channel_beyond_those_added_up_is_nan(layout: PixelLayout) -> None:
    torch.manual_seed(3)
    finite = []

    def watched(sums: Sums) -> Add:
        weight_TS = sums.dense()

        def add(given_BSHW: Tensor) -> Tensor:
            memory = torch.empty(0, dtype=torch.bfloat16).set_(given_BSHW.untyped_storage())
            finite.append(memory.isfinite().all())
            return torch.einsum("ts,bshw->bthw", weight_TS, given_BSHW)

        return add

    Forward(some_network(9, 1, 2, normed=False), layout, watched, torch.bfloat16)(torch.randn(2, 3, 9, 9))
    assert len(finite) > 1
    assert all(finite)


def test_a_node_rectifies_and_filters_its_own_map() -> None:
    nodes = some_nodes(2, 2, normed=False)
    x_BCHW = torch.zeros(1, 2, 4, 4)
    x_BCHW[0, 1, 2, 2], x_BCHW[0, 1, 2, 3] = 3, -5
    given_BCHW = torch_give(x_BCHW, nodes, x_BCHW)
    assert given_BCHW.shape == (1, 2, 2, 2)
    assert not given_BCHW[0, 0].any()
    torch.testing.assert_close(given_BCHW[0, 1, 1, 1], 3 * nodes.filters[1, 1, 1])
    torch.testing.assert_close(given_BCHW[0, 1, 0, 0], torch.tensor(0.0))
