"""dnw.load in another precision; tests/unit/dnw/exported/test_network.py has what else it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from drawn_networks import (
    error,
    one_thread,  # noqa: F401
)
from exported import CARD, expected_of, odd_network

import dnw
from dnw.compact import compact
from dnw.engines.native import plan
from dnw.exported.model_file import write

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("engine", ["native", "compact"])
def test_load_in_bf16(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "EDGES", 0)
    network = odd_network("mobilenet", monkeypatch)
    write(tmp_path / "one.safetensors", compact(network, 32), CARD)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits_BK = dnw.load(tmp_path / "one.safetensors", engine, precision="bf16")(x)
    assert 0 < error(logits_BK, expected_of(network, x)) < 0.1
