"""The ONNX graph of a compact network, by onnxruntime."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from drawn_networks import (
    error,
    images,
    one_thread,  # noqa: F401
)
from exported import CARD, KINDS, ODD, expected_of, odd_network

from dnw.compact import Compact, Sums, compact
from dnw.exported import onnx_graph
from dnw.exported.onnx_graph import onnx_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("density", "gathered"), [(0.3, False), (0.3, True), (0.0, False)])
def test_onnx(kind: str, density: float, gathered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_graph._Costs, "dense_ns", lambda *_: math.inf if gathered else 0)
    network = odd_network(kind, monkeypatch, dataclasses.replace(ODD, density=density))
    left: Compact = compact(network, 32)
    content = onnx_model(left, CARD).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = images(batch, 32)
        (logits,) = session.run(["logits"], {"images": x.numpy()})
        assert error(torch.from_numpy(logits), expected_of(network, x)) < 1e-4
    if density:
        assert (b"Gather" in content) == gathered


def some_sums(block: int) -> Sums:
    """512 targets of 2000 sources, each of 16; so many neighbours share theirs."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randperm(2000, generator=generator)[:16].sort().values for _ in range(512 // block)]
    return Sums(
        columns=2000,
        starts=torch.arange(513, dtype=torch.int32) * 16,
        sources=torch.cat([row for row in rows for _ in range(block)]).int(),
        weights=torch.ones(512 * 16),
        bias=torch.zeros(512),
        mapped=torch.zeros(0, dtype=torch.int32),
        maps=torch.zeros(0, 14, 14),
    )


def test_targets_that_share_their_sources_are_found() -> None:
    assert onnx_graph._alike(some_sums(4)) == [(first, first + 4) for first in range(0, 512, 4)]
    assert len(onnx_graph._alike(some_sums(1))) == 512


@pytest.mark.parametrize(("block", "gathers"), [(1, False), (4, True), (16, True)])
def test_sums_are_gathered_where_many_share_their_sources(block: int, gathers: bool) -> None:
    sums = some_sums(block)
    cost_ns = onnx_graph._Costs.gathered_ns(sums, onnx_graph._alike(sums), 14 * 14)
    assert (cost_ns < onnx_graph._Costs.dense_ns(sums, 14 * 14)) == gathers
