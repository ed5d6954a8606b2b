"""The native engine against torch, on networks of random shape (test_building.py has real ones)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from drawn_compact import some_network
from numpy.typing import NDArray

from dnw.compact import Compact
from dnw.compact.form import Arrays
from dnw.engines.native.kernel import run
from dnw.engines.native.network import Native

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def network() -> Compact[Arrays]:
    torch.manual_seed(0)
    return some_network(70, 2, 2, normed=False).arrays()


@pytest.fixture(scope="module")
def images() -> Floats:
    return np.random.default_rng(2).standard_normal((5, 3, 70, 70), np.float32)


def read_only(images: Floats) -> Floats:
    copy = images.copy()
    copy.flags.writeable = False
    return copy


def test_takes_images_however_they_lie_in_memory(network: Compact[Arrays], images: Floats) -> None:
    native = Native(network, 1)
    expected_BK = native(images)
    compiled = len(run.signatures)
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for same in (channels_last, images[:, :, :, ::-1][:, :, :, ::-1], images.repeat(2, 0)[::2]):
        np.testing.assert_array_equal(native(same), expected_BK)
    np.testing.assert_array_equal(native(read_only(images)), expected_BK)
    assert len(run.signatures) == compiled


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_doesnt_change_another(network: Compact[Arrays], images: Floats, threads: int) -> None:
    native = Native(network, threads)
    together_BK = native(images)
    alone_BK = np.concatenate([native(image[None]) for image in images])
    np.testing.assert_allclose(alone_BK, together_BK, rtol=1e-6, atol=1e-6)


def test_threads_that_call_at_once_take_turns(network: Compact[Arrays], images: Floats) -> None:
    native = Native(network, 2)
    expected_BK = native(images)
    with ThreadPoolExecutor(4) as pool:
        for logits_BK in pool.map(native, [images] * 40):
            np.testing.assert_array_equal(logits_BK, expected_BK)
