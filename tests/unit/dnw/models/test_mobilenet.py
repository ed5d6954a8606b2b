"""The MobileNetV1-like network."""

from __future__ import annotations

import example
import pytest
import torch

from dnw import models
from dnw.models.mobilenet import MobileNetBlock, stem_stride
from dnw.wiring import edges_of

SMALL = {"name": "mobilenet", "small": True}


def test_mobilenet_takes_every_width() -> None:
    network = models.build(example.train(model=SMALL, width=1))
    budgets = [edges.budget for _, edges in edges_of(network).values()]
    assert budgets == [2048, 24576, 98304, 1441792, 1572864, 10240]


@pytest.mark.parametrize(("size", "pixels"), [(28, 28), (64, 64), (65, 33), (224, 112)])
def test_small_images_keep_their_resolution(size: int, pixels: int) -> None:
    assert -(-size // stem_stride(size)) == pixels


@torch.no_grad()
def test_a_block_computes_the_same_in_training_and_by_propagating() -> None:
    """Where the norms have the statistics of the batch, in evaluation, too."""
    block = MobileNetBlock(example.train(model__name="mobilenet", wiring__name="complete"), 0, 6, 8, 2, 3)
    for norm in block.norm:
        norm.momentum = 1  # type: ignore[assignment]
    x_BCHW = torch.randn(4, 6, 9, 9)
    with torch.enable_grad():
        trained_BCHW = block.train()(x_BCHW)
    assert trained_BCHW.shape == (4, 8, 5, 5)
    for norm in block.norm:  # torch normalizes with the variance of the batch, and keeps that of its sample
        norm.running_var.mul_((4 * 81 - 1) / (4 * 81) if norm.num_features == 6 else (4 * 25 - 1) / (4 * 25))
    torch.testing.assert_close(block.eval()(x_BCHW), trained_BCHW, rtol=1e-4, atol=1e-5)
