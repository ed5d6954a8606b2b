"""A graph of channels as one wired convolution."""

from __future__ import annotations

import example
import pytest
from drawn_networks import images

from dnw import models
from dnw.wiring import edges_of, raw_weight

MOBILENET = {"name": "mobilenet"}


TINY = ("static", "discrete", "continuous")


def test_weights_start_as_torch_starts_a_convolution() -> None:
    model = models.build(example.train(model=MOBILENET))
    for module, _ in edges_of(model).values():
        bound = module.in_channels**-0.5
        weight = raw_weight(module).detach()
        assert 0.95 * bound < weight.abs().max() <= bound
        assert abs(float(weight.std()) / bound - 3**-0.5) < 0.02


@pytest.mark.parametrize("name", [*TINY, "mobilenet"])
def test_each_forward_masks_a_matrix_once(name: str) -> None:
    network = models.build(example.train(model__name=name))
    calls = []
    for path, (_, edges) in edges_of(network).items():
        edges.register_forward_hook(lambda *_, path=path: calls.append(path))
    network(images(2, 32))
    assert calls == list(edges_of(network))
    assert len(calls) == (5 if name == "mobilenet" else 1)
