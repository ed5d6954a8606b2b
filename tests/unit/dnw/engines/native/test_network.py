"""The native engine against torch, on networks of random shape (test_engines.py has real ones)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dnw.compact import Compact, CompactBlock, CompactNodes, Head, InstanceNorm, Stem, Sums
from dnw.engines.native.network import Native
from dnw.engines.native.plan import plan


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape) / 2


def some_sums(sources: int, targets: int, side: int) -> Sums:
    edges_TS = torch.rand(targets, sources) < 4 / sources
    edges_TS[torch.arange(targets), torch.randint(sources, (targets,))] = True
    at_targets, at_sources = edges_TS.nonzero(as_tuple=True)
    counts = torch.bincount(at_targets, minlength=targets)
    mapped = torch.arange(0, targets, 3)
    return Sums(
        columns=sources,
        starts=torch.cat((torch.zeros(1), counts.cumsum(0))).int(),
        sources=at_sources.int(),
        weights=drawn(len(at_sources)),
        bias=drawn(targets),
        mapped=mapped.int(),
        maps=drawn(len(mapped), side, side),
    )


def some_nodes(count: int, stride: int, normed: bool) -> CompactNodes:
    norm = InstanceNorm(drawn(count), drawn(count), 1e-5) if normed else None
    return CompactNodes(drawn(count, 3, 3), stride, norm)


def some_network(size: int, stem_stride: int, block_stride: int, normed: bool) -> Compact:
    """Two blocks with layers of unequal width, some targets with a map, a mean over a window."""
    middle = -(-size // stem_stride)
    side = -(-middle // block_stride)
    first = CompactBlock(
        (some_nodes(5, 1, normed), some_nodes(7, 1, normed)),
        (some_sums(5, 7, middle), some_sums(12, 9, middle)),
        middle,
    )
    layers = (some_nodes(9, block_stride, normed), some_nodes(17, 1, normed), some_nodes(1, 1, normed))
    sums = (some_sums(9, 17, side), some_sums(26, 1, side), some_sums(27, 13, side))
    stem = Stem(drawn(5, 3, 3, 3), drawn(5), stem_stride)
    head = Head(
        rectified=not normed, corner=side // 3, window=side - side // 3, weight=drawn(4, 13), bias=drawn(4)
    )
    return Compact(size, stem, (first, CompactBlock(layers, sums, side)), head)


def by_torch(network: Compact, images_BCHW: Tensor) -> Tensor:
    """The definition of the compact form, in double precision."""
    assert network.stem is not None
    wide = network.to(dtype=torch.float64)
    assert wide.stem is not None
    received = F.conv2d(images_BCHW.double(), wide.stem.filters, wide.stem.bias, wide.stem.stride, padding=1)
    for block in wide.blocks:
        given: list[Tensor] = []
        for nodes, sums in zip(block.layers, block.sums, strict=True):
            if nodes.norm is not None:
                received = F.instance_norm(
                    received, weight=nodes.norm.scale, bias=nodes.norm.shift, eps=nodes.norm.epsilon
                )
            filters = nodes.filters[:, None]
            given.append(
                F.conv2d(received.relu(), filters, stride=nodes.stride, padding=1, groups=nodes.count)
            )
            received = (
                torch.einsum("ts,bshw->bthw", sums.dense(), torch.cat(given, 1)) + sums.bias[:, None, None]
            )
            received[:, sums.mapped.long()] += sums.maps
    head = wide.head
    window = slice(head.corner, head.corner + head.window)
    received = received.relu() if head.rectified else received
    return F.linear(received[:, :, window, window].mean((2, 3)), head.weight, head.bias).float()


def assert_same(found_BK: Tensor, expected_BK: Tensor) -> None:
    scale = expected_BK.abs().max()
    torch.testing.assert_close(found_BK / scale, expected_BK / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(
    ("size", "stem_stride", "block_stride"), [(9, 1, 1), (33, 1, 2), (70, 2, 2), (65, 1, 2)]
)
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (3, 1), (1, 2), (3, 2), (2, 3)])
def test_computes_what_the_compact_form_says(
    size: int, stem_stride: int, block_stride: int, normed: bool, batch: int, threads: int
) -> None:
    torch.manual_seed(size + normed)
    network = some_network(size, stem_stride, block_stride, normed)
    images_BCHW = torch.randn(batch, 3, size, size)
    assert_same(Native(network, threads)(images_BCHW), by_torch(network, images_BCHW))


@pytest.fixture(scope="module")
def network() -> Compact:
    torch.manual_seed(0)
    return some_network(70, 2, 2, normed=False)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(5, 3, 70, 70, generator=torch.Generator().manual_seed(2))


def test_takes_images_however_they_lie_in_memory(network: Compact, images: Tensor) -> None:
    native = Native(network, 1)
    expected_BK = native(images)
    assert native(images.to(memory_format=torch.channels_last)).equal(expected_BK)
    assert native(images.flip(3).flip(3)).equal(expected_BK)
    assert native(images.repeat_interleave(2, 0)[::2]).equal(expected_BK)


def test_an_image_doesnt_change_another(network: Compact, images: Tensor) -> None:
    native = Native(network, 1)
    together_BK = native(images)
    alone_BK = torch.cat([native(image[None]) for image in images])
    torch.testing.assert_close(alone_BK, together_BK, rtol=1e-6, atol=1e-6)


def test_threads_that_call_at_once_take_turns(network: Compact, images: Tensor) -> None:
    native = Native(network, 2)
    expected_BK = native(images)
    with ThreadPoolExecutor(4) as pool:
        for logits_BK in pool.map(native, [images] * 40):
            assert logits_BK.equal(expected_BK)


def test_every_strip_is_computed_once_and_after_what_it_needs(network: Compact) -> None:
    found = plan(network, threads=1)
    given = [0] * len(found.phases)
    for step in found.steps:
        at = step["phase"]
        phase = found.phases[at]
        assert step["top"] == given[at]
        if at:
            rows = min((step["bottom"] - 1) * phase["stride"] + 2, phase["received_side"])
            assert given[at - 1] >= rows
        given[at] = step["bottom"]
    assert given == [phase["side"] for phase in found.phases]


def test_threads_share_the_targets_of_every_phase(network: Compact) -> None:
    found = plan(network, threads=3)
    sizes = [len(network.stem.bias), *(sums.count for block in network.blocks for sums in block.sums)]
    assert (found.shares[:, -1] - found.shares[:, 0]).tolist() == sizes
    assert (found.shares[1:, 0] == found.shares[:-1, -1]).all()
    assert (found.shares[:, 1:] >= found.shares[:, :-1]).all()
