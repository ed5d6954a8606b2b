"""The native engine against torch, on networks of random shape (test_engines.py has real ones)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from drawn_compact import some_network
from torch import Tensor

from dnw.compact import Compact
from dnw.engines.native.network import Native


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
