"""The compiled function against torch, on networks of random shape."""

from __future__ import annotations

import pytest
import torch
from drawn_compact import assert_same, by_torch, some_network

from dnw.engines.native import memory
from dnw.engines.native.network import Native


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(
    ("size", "stem_stride", "block_stride"), [(9, 1, 1), (33, 1, 2), (70, 2, 2), (65, 1, 2)]
)
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (3, 1), (1, 2), (3, 2), (2, 3), (11, 2)])
def test_computes_what_the_compact_form_says(
    size: int, stem_stride: int, block_stride: int, normed: bool, batch: int, threads: int
) -> None:
    torch.manual_seed(size + normed)
    network = some_network(size, stem_stride, block_stride, normed)
    images_BCHW = torch.randn(batch, 3, size, size)
    logits_BK = torch.from_numpy(Native(network.arrays(), threads)(images_BCHW.numpy()))
    assert_same(logits_BK, by_torch(network, images_BCHW))


@pytest.mark.usefixtures("in_pairs")
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(
    ("size", "stem_stride", "block_stride"), [(9, 1, 1), (33, 1, 2), (70, 2, 2), (65, 1, 2)]
)
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (3, 1), (3, 2), (2, 3)])
def test_maps_in_bf16_are_off_by_one_rounding_of_the_largest_logit_at_most(
    size: int, stem_stride: int, block_stride: int, normed: bool, batch: int, threads: int
) -> None:
    torch.manual_seed(size + normed)
    network = some_network(size, stem_stride, block_stride, normed)
    images_BCHW = torch.randn(batch, 3, size, size)
    engine = Native(network.arrays(), threads, "bf16")
    assert engine._plan.phases["gives_pairs"][:-1].all()
    expected_BK = by_torch(network, images_BCHW)
    error_BK = (torch.from_numpy(engine(images_BCHW.numpy())) - expected_BK).abs() / expected_BK.abs().max()
    assert 0 < error_BK.max() < 2**-8


def test_a_large_cache_takes_larger_maps_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SMALL_SIDE", 56)
    torch.manual_seed(0)
    network = some_network(70, 2, 2, normed=False)
    engine = Native(network.arrays(), 1)
    assert engine._plan.phases["is_whole"].all()
    images_BCHW = torch.randn(2, 3, 70, 70)
    assert_same(torch.from_numpy(engine(images_BCHW.numpy())), by_torch(network, images_BCHW))
