"""What is left of a network as dense matrices: zeros are multiplied too, but only between live nodes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dnw.compact import Compact, Sums
from dnw.engines.forward import Add, Forward, PixelLayout


def dense_compact(network: Compact, precision: Literal["fp32", "bf16"]) -> Forward:
    """Prepare matrices, in the precision that they are multiplied in."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Forward(network, PixelLayout.BY_PIXEL, _matrix, dtype)


def _matrix(sums: Sums) -> Add:
    weight_TS, bias_T = sums.dense(), sums.bias

    def add(given_BSHW: Tensor) -> Tensor:
        return F.linear(given_BSHW.permute(0, 2, 3, 1), weight_TS, bias_T).permute(0, 3, 1, 2)

    return add
