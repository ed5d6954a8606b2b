"""The tiny network in continuous time, against an integration by hand."""

from __future__ import annotations

import example
import torch
from drawn_networks import images
from recurrent_nodes import nodes_at_the_start, step_by_step
from torch import Tensor
from torchdiffeq import odeint

from dnw import models


def test_continuous_network_integrates_its_nodes() -> None:
    network = models.build(example.train(model__name="continuous")).eval()
    calls = []

    def change(_: Tensor, x_BCHW: Tensor) -> Tensor:
        calls.append(x_BCHW)
        return step_by_step(network, x_BCHW)

    times = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        start = nodes_at_the_start(network, images(2, 32))
        x_BCHW = odeint(change, start, times, rtol=1e-3, atol=1e-3)[1]
        logits = network.fc(x_BCHW[:, -100:, 2:4, 2:4].mean((2, 3)))
        torch.testing.assert_close(network(images(2, 32)), logits, rtol=1e-3, atol=1e-4)
    assert network.evaluations == len(calls)
    assert x_BCHW[:, :32].min() < 0


def test_continuous_network_of_the_papers_code_is_another() -> None:
    right, quirky = (
        models.build(
            example.train(model__name="continuous", wiring={"name": "dnw", "reference_quirks": quirks})
        )
        for quirks in (False, True)
    )
    right_weights, quirky_weights = right.state_dict(), quirky.state_dict()
    assert all(torch.equal(quirky_weights[name], value) for name, value in right_weights.items())
    logits = right(images(2, 32))
    assert (quirky(images(2, 32)) - logits).abs().max() > 0.1 * logits.abs().max()
