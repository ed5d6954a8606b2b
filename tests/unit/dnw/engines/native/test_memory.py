"""Where the native engine finds what it adds up: planes of the image, and maps of a block."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_compact import some_network, some_nodes
from numpy.typing import NDArray

from dnw.compact.form import Arrays, CompactNodes, InstanceNorm
from dnw.engines.native.memory import (
    Given,
    Memory,
    Pick,
    Planes,
    Received,
    in_huge_pages,
    in_lines,
    zeros,
)
from dnw.engines.native.stream_vector import ALONE, STREAMED, WIDEST
from dnw.engines.native.vector import LANES, LINE

Floats = NDArray[np.float32]


def picked(pick: Pick, floats: Floats, side: int, pitch: int) -> Floats:
    """Return what each target receives at each pixel, [T, side, side]."""
    stops = np.cumsum(pick.counts)
    pixels = pitch * np.arange(side)[:, None] + np.arange(side)
    received = [
        sum((w * floats[at + pixels] for at, w in zip(pick.offsets[a:b], pick.weights[a:b], strict=True)), 0)
        for a, b in zip([0, *stops[:-1]], stops, strict=True)
    ]
    return np.stack([np.broadcast_to(one, (side, side)) for one in received])


def test_room_begins_at_a_cache_line() -> None:
    memory = Memory()
    assert [memory.reserve(floats) for floats in (1, 16, 17, 5)] == [0, 16, 32, 64]
    assert memory.floats == 80
    assert [in_lines(floats) for floats in (0, 1, 16, 17)] == [0, 16, 16, 32]


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (9, 2), (10, 2)])
def test_the_first_convolution_is_a_sum_over_planes(size: int, stride: int) -> None:
    network, memory = some_network(size, stride, 1, normed=False).arrays(), Memory()
    assert network.stem is not None
    planes = Planes.of(network, memory)
    image = torch.randn(3, size, size)
    floats = np.zeros(memory.floats, np.float32)
    for channel in range(3):
        for row in range(size):
            for column in range(size):
                plane = (channel * stride + row % stride) * stride + column % stride
                at = planes.at + plane * planes.size + row // stride * planes.pitch + column // stride
                floats[at] = image[channel, row, column]
    expected = F.conv2d(image, torch.from_numpy(network.stem.filters), stride=stride, padding=1)
    found = picked(planes.pick(network.stem), floats, planes.side, planes.pitch)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_edges_and_maps_of_a_block() -> None:
    network, memory = some_network(9, 1, 2, normed=False), Memory()
    block, block_of_arrays = network.blocks[1], network.arrays().blocks[1]
    given = Given.all_of(network.arrays().blocks, memory, [False, False])[1]
    assert given.first == (0, 9, 26)
    assert len(given.rows) == 27
    picks = [given.pick(sums, memory) for sums in block_of_arrays.sums]
    floats, pitch = np.zeros(memory.floats + 100, np.float32), block.side + 1
    for at, values in memory.constants:
        floats[at : at + len(values)] = values
    maps_SHW = torch.randn(27, block.side, block.side)
    for at, pixels_HW in zip(given.rows, maps_SHW, strict=True):
        floats[at : at + block.side * pitch] = np.pad(pixels_HW, ((0, 0), (0, 1))).ravel()
    for sums, pick in zip(block.sums, picks, strict=True):
        expected = torch.einsum("ts,shw->thw", sums.dense(), maps_SHW[: sums.columns])
        expected[sums.mapped.long()] += sums.maps
        np.testing.assert_allclose(picked(pick, floats, block.side, pitch), expected, rtol=1e-4, atol=1e-5)


def arrays_of_nodes(normed: bool) -> CompactNodes[Arrays]:
    nodes = some_nodes(5, 2, normed)
    norm = None
    if nodes.norm is not None:
        norm = InstanceNorm(nodes.norm.scale.numpy(), nodes.norm.shift.numpy(), nodes.norm.epsilon)
    return CompactNodes(nodes.filters.numpy(), nodes.stride, norm)


@pytest.mark.parametrize(
    ("side", "normed", "rows"), [(28, False, 28), (56, False, 16), (56, True, 56), (33, True, 34)]
)
def test_large_maps_are_taken_in_strips_unless_a_norm_needs_them_whole(
    side: int, normed: bool, rows: int
) -> None:
    nodes = arrays_of_nodes(normed)
    received = Received.of(side, nodes, 5)
    assert (received.rows, received.is_whole) == (rows, rows >= side)
    assert received.size % LINE == 0
    assert received.size // LINE % 2 == 1
    assert received.size >= received.above + (rows + 2) * (side + 1)
    assert received.floats(threads=2) == 8 * received.size
    assert received.seam >= (0 if rows >= side else 2 * (side + 1) + 1)
    phase = received.phase(1000, 2000, 3000, nodes)
    assert phase["received_at"] == 1000 + received.above
    assert (phase["kept_at"], phase["seams_at"], phase["seam_size"]) == (2000, 3000, received.seam)
    assert (phase["side"], phase["strip"]) == (-(-side // 2), rows // 2)
    assert ("normed" in phase, "rectified" in phase) == (normed, not normed)


def test_maps_that_no_cache_holds_stream_where_targets_have_many_edges() -> None:
    few, many, sparse, strips = (
        Received.of(side, arrays_of_nodes(normed=False), 300, sources, edges, 75)
        for side, sources, edges in (
            (14, 100, 10000),
            (14, 1000, 30000),
            (14, 1000, 10000),
            (56, 1000, 30000),
        )
    )
    assert (few.streams, many.streams, sparse.streams, strips.streams) == (0, STREAMED, 0, 0)
    assert few.floats(threads=2) == 8 * few.size
    assert many.floats(threads=2) == 300 * many.size


@pytest.mark.parametrize("side", [7, 14, 56])
def test_targets_with_sources_of_their_own_stream(side: int) -> None:
    """With registers of 512 bits where a map is four vectors."""
    nodes = arrays_of_nodes(normed=False)
    few, many = (Received.of(side, nodes, 30, 100, edges, 30) for edges in (100, 300))
    is_small = LANES == 8 or side == 7
    assert (few.streams, many.streams) == (0, ALONE if is_small else 0)
    assert many.floats(threads=2) == (30 if is_small else 8) * many.size


def test_huge_pages_hold_a_copy() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    copy = in_huge_pages(values)
    assert np.array_equal(copy, values)
    assert copy.flags.writeable
    assert copy.ctypes.data % (2 << 20) == 0


def test_layers_take_the_room_of_those_that_no_phase_reads_any_more() -> None:
    block, memory = some_network(9, 1, 1, normed=False).arrays().blocks[0], Memory()  # of 5 and 7 nodes
    large = dataclasses.replace(block, side=56)
    given = Given.all_of([large, large, block, block, block], memory, [False] * 5)
    begins = [[int(one.rows[first]) // one.size for first in one.first] for one in given]
    assert begins[0] + begins[1] == [0, 5, 12, 17]  # strips of both are there at a time
    behind, size = 24 * given[0].size, given[2].size
    assert given[2].rows[0] == behind  # its first layer still comes in strips
    assert begins[2][1] == 0  # in place of the large ones
    assert begins[3] == [7, 0]
    assert begins[4] == [12, 0]
    assert memory.floats == behind + 5 * size


def test_no_layer_lies_where_a_later_phase_reads() -> None:
    block = some_network(9, 1, 1, normed=False).arrays().blocks[0]
    given = Given.all_of([block] * 6, Memory(), [False] * 6)
    layers, phase = [], 1
    for one in given:
        for number, part in enumerate(np.split(one.rows, one.first[1:])):
            layers.append((phase + number - 1, phase + 1, int(part[0]), int(part[-1]) + one.size))
        phase += 2
    for at, (_, last, begin, end) in enumerate(layers):
        for since, _, other_begin, other_end in layers[at + 1 :]:
            assert since > last or end <= other_begin or other_end <= begin


def test_workspaces_begin_at_a_cache_line() -> None:
    room = zeros(100)
    assert room.ctypes.data % (4 * LINE) == 0
    assert room.flags.writeable
    assert room.shape == (100,)
    assert not room.any()


def test_bits_are_kept_of_pixels_alone() -> None:
    kept = Received.of(3, None, 5).kept().view(np.int32)
    assert kept[:12].reshape(3, 4).tolist() == [[-1, -1, -1, 0]] * 3
    assert kept[12:].tolist() == [0] * (WIDEST * LANES)


def test_the_head_needs_whole_maps() -> None:
    assert Received.of(56, None, 3).is_whole
