"""The block's own forward and backward, against autograd over Graph.propagate."""

from __future__ import annotations

import copy

import example
import pytest
import torch

from dnw.models.mobilenet import MobileNetBlock

SHAPES = [(32, 64, 1, 1), (6, 8, 2, 2), (5, 7, 1, 3), (8, 12, 2, 6)]  # inputs, outputs, stride, depth


def pair(shape: tuple[int, int, int, int]) -> tuple[MobileNetBlock, MobileNetBlock]:
    block = MobileNetBlock(example.train(model__name="mobilenet"), 1, *shape).double().train()
    for norm in block.norm:
        torch.nn.init.normal_(norm.weight)  # type: ignore[arg-type]
        torch.nn.init.normal_(norm.bias)  # type: ignore[arg-type]
    return block, copy.deepcopy(block)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_autograd(shape: tuple[int, int, int, int]) -> None:
    ours, theirs = pair(shape)
    x = torch.randn(3, shape[0], 9, 9, dtype=torch.double)
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    given = ours(x_ours)
    expected = theirs.graph.propagate(x_theirs, theirs._nodes)
    torch.testing.assert_close(given, expected)
    gradient = torch.randn_like(expected)
    given.backward(gradient)
    expected.backward(gradient)
    torch.testing.assert_close(x_ours.grad, x_theirs.grad)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for norm, their_norm in zip(ours.norm, theirs.norm, strict=True):
        torch.testing.assert_close(norm.running_mean, their_norm.running_mean)
        torch.testing.assert_close(norm.running_var, their_norm.running_var)


def test_computes_in_bf16_under_autocast() -> None:
    block = MobileNetBlock(example.train(model__name="mobilenet"), 1, 6, 8, 2, 2).train()
    with torch.autocast("cpu", torch.bfloat16):
        given = block(torch.randn(3, 6, 9, 9))
    assert given.dtype == torch.bfloat16
    given.float().square().sum().backward()
    assert all(one.grad is not None and one.grad.dtype == torch.float32 for one in block.parameters())


def test_one_value_per_channel_has_no_statistics() -> None:
    block = MobileNetBlock(example.train(model__name="mobilenet"), 1, 6, 8, 1, 2).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        block(torch.randn(1, 6, 1, 1))
