"""The ONNX graph of a compact network, by onnxruntime."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from drawn_networks import (
    error,
    images,
    one_thread,  # noqa: F401
)
from exported import CARD, KINDS, ODD, expected_of, odd_network

from dnw.compact import Compact, compact
from dnw.exported.onnx_graph import onnx_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", [0.3, 0.0])
def test_onnx(kind: str, density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = odd_network(kind, monkeypatch, dataclasses.replace(ODD, density=density))
    left: Compact = compact(network, 32)
    content = onnx_model(left, CARD).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(batch, 32)
        (logits,) = session.run(["logits"], {"images": x.numpy()})
        assert error(torch.from_numpy(logits), expected_of(network, x)) < 1e-4
