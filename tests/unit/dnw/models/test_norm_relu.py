"""Norm and ReLU as one operation, by torch's own on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnw.models import norm_relu


def example() -> tuple[nn.BatchNorm2d, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    norm = nn.BatchNorm2d(6)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, generator=draw)
    maps = (torch.randn(4, 6, 5, 5, generator=draw) for _ in range(2))
    x_BCHW, to_BCHW = (one.to(memory_format=torch.channels_last) for one in maps)
    return norm, x_BCHW, to_BCHW


def test_is_relu_of_the_norm() -> None:
    norm, x_BCHW, _ = example()
    for training in (True, False):
        norm.train(training)
        assert torch.equal(norm_relu.norm_relu(norm, x_BCHW), F.relu(norm(x_BCHW)))


def test_its_own_backward_is_that_of_autograd() -> None:
    norm, x_BCHW, to_BCHW = example()
    learned = [x_BCHW.requires_grad_(), *norm.parameters()]
    wanted = torch.autograd.grad(F.relu(norm(x_BCHW)), learned, to_BCHW)
    running = (norm.running_mean.clone(), norm.running_var.clone())
    norm.reset_running_stats()
    with torch.no_grad():
        given_BCHW, saved, used = norm_relu.forward(norm, x_BCHW, norm.weight, norm.bias)
        found = norm_relu.backward(norm, to_BCHW, given_BCHW, x_BCHW, saved, used)
    assert all(map(torch.equal, found, wanted))
    assert torch.equal(torch.stack(running), torch.stack([norm.running_mean, norm.running_var]))


def test_own_function_and_its_gradients(monkeypatch: Any) -> None:
    norm, x_BCHW, to_BCHW = example()
    learned = [x_BCHW.requires_grad_(), *norm.parameters()]
    wanted = torch.autograd.grad(F.relu(norm(x_BCHW)), learned, to_BCHW)
    found_BCHW = norm_relu._NormRelu.apply(norm, x_BCHW, norm.weight, norm.bias)
    found = torch.autograd.grad(found_BCHW, learned, to_BCHW)
    assert torch.equal(found_BCHW, F.relu(norm(x_BCHW)))
    assert all(map(torch.equal, found, wanted))


def test_refuses_a_single_value_per_channel() -> None:
    norm = nn.BatchNorm2d(6)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        norm_relu.forward(norm, torch.ones(1, 6, 1, 1), norm.weight, norm.bias)
