"""Whether all values of a state are finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnw.training.checkpoint import Checkpoint, CheckpointError


def is_finite(state: Any) -> bool:
    """Whether every value is, in a tensor, or in all those nested in dictionaries and lists."""
    return all(map(_is_finite, tensors(state)))


def is_healthy(snapshot: Checkpoint, exempt: frozenset[str]) -> bool:
    """Whether a state in host memory may be gone on from; buffers named in `exempt` are inf by design."""
    return all(is_finite(held) for _, held in _parts(snapshot, exempt))


def check_finite(path: Path, saved: Checkpoint, exempt: frozenset[str], remedy: str) -> None:
    """Refuse a checkpoint that may not be gone on from, as one that an earlier version has left.

    Args:
        path: of the checkpoint, for the message.
        saved: its content.
        exempt: buffers of the network that may hold inf.
        remedy: what to do about it.

    Raises:
        CheckpointError: with the first part that isn't finite.
    """
    bad = [name for name, held in _parts(saved, exempt) if not is_finite(held)]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CheckpointError(
            f"{path}: values that aren't finite, in {bad[0]}{more}; the run has diverged: {remedy}"
        )


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


def _parts(saved: Checkpoint, exempt: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield what people call each part of a state, and the part."""
    yield from ((name, tensor) for name, tensor in saved.model.items() if name not in exempt)
    held = saved.optimizer.get("state", {})
    yield from ((f"the momentum of weight {number}", state) for number, state in held.items())
    yield from ((f"the average of {name}", tensor) for name, tensor in saved.average.items())
    yield "the sum of the losses", saved.meter


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    least, most = torch.aminmax(tensor.detach())  # of nan, nan; takes no memory, unlike isfinite
    return math.isfinite(least) and math.isfinite(most)
