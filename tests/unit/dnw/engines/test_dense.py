"""The network as it was trained, without masks."""

from __future__ import annotations

import example
import pytest
import torch
from drawn_networks import (
    drawn,
    error,
    images,
    one_thread,  # noqa: F401
)

from dnw import models
from dnw.engines import build

pytestmark = pytest.mark.usefixtures("one_thread")


def test_dense_and_auto_take_any_network() -> None:
    network = models.build(example.train(model__name="discrete")).eval()
    x = images(2, 32)
    for name in ("dense", "auto"):
        engine = build(name, network, 32)
        assert engine.name == "dense"
        with torch.no_grad():
            assert error(engine(x), network(x)) < 1e-6


def test_no_mask_is_applied_by_dense() -> None:
    network = drawn("static", 32, oddity=None)
    engine = build("dense", network, 32)
    names = [name for name, _ in engine.run._model.named_modules()]  # type: ignore[attr-defined]
    assert not any("parametrizations" in name for name in names)
    assert any("parametrizations" in name for name, _ in network.named_modules())
