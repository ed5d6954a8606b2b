from __future__ import annotations

import pytest
import torch
from drawn_compact import some_network

from dnw.compact import Compact


@pytest.fixture(scope="module")
def network() -> Compact:
    torch.manual_seed(0)
    return some_network(70, 2, 2, normed=False)
