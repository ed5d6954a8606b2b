from __future__ import annotations

import pytest
import torch
from drawn_compact import some_network

from dnw.compact import Compact
from dnw.engines.native import memory, plan


@pytest.fixture(autouse=True)
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests meet strips, whatever this machine's cache holds."""
    monkeypatch.setattr(memory, "_SMALL_SIDE", 28)


@pytest.fixture
def in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With bf16 maps of all blocks lie in pairs, however few edges there are."""
    monkeypatch.setattr(plan, "EDGES", 0)
    monkeypatch.setattr(plan, "EDGES_OF_SHARED", 0)


@pytest.fixture(scope="module")
def network() -> Compact:
    torch.manual_seed(0)
    return some_network(70, 2, 2, normed=False)
