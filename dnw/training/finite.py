"""Whether all values of a state are finite."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dnw.training.checkpoint import Checkpoint


def is_finite(state: Any) -> bool:
    """Whether every value is, in a tensor, or in all those nested in dictionaries and lists."""
    return all(map(_is_finite, tensors(state)))


def is_healthy(snapshot: Checkpoint, exempt: frozenset[str]) -> bool:
    """Whether a state in host memory may be gone on from; buffers named in `exempt` are inf by design."""
    model = [tensor for name, tensor in snapshot.model.items() if name not in exempt]
    return is_finite([model, snapshot.optimizer, snapshot.meter])


def not_finite_by_design(model: nn.Module) -> frozenset[str]:
    """Return the names of buffers that hold inf from the start, a mask's say."""
    return frozenset(name for name, buffer in model.named_buffers() if not is_finite(buffer))


def tensors(state: Any) -> Iterable[Tensor]:
    """Yield every tensor of a state, nested in dictionaries and lists."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list):
        for value in state.values() if isinstance(state, dict) else state:
            yield from tensors(value)


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    least, most = torch.aminmax(tensor.detach())  # of nan, nan; takes no memory, unlike isfinite
    return math.isfinite(least) and math.isfinite(most)
