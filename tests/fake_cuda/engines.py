"""One batch through an engine on the fake device.

Shapes: B images of H = W pixels.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from dnw import models
from dnw.compact import Compact, compact
from dnw.config import Train
from dnw.engines import build, dense, winners
from dnw.engines.auto import Auto
from dnw.engines.native import gpu

from .device import DEVICE, fake_cuda
from .trace import Counts, Trace

MOST = 65_535  # programs in the second and third dimension of a grid


def engine_call(train: Train, name: str, batch: int) -> Counts:
    """Trace one batch through an engine; of auto, through each that it chooses among.

    Triton's kernels are not run, only counted; a grid that CUDA refuses is a fault.
    """
    size = train.data.image_size
    model = models.build(train).eval()
    network: nn.Module | Compact = model if name == "dense" else compact(model, size)
    launches = _Launches()
    gpu._give, gpu._sum = launches.kernel("_give"), launches.kernel("_sum")
    _stand_in()
    with fake_cuda():
        engine = build(name, network, size, precision=train.precision, device="cuda")  # type: ignore[arg-type]
        runs = list(engine.run._candidates.values()) if isinstance(engine.run, Auto) else [engine]
        images_BCHW = torch.empty(batch, 3, size, size, device=DEVICE)
        with torch.inference_mode(), Trace(DEVICE) as trace:
            for run in runs:
                logits_BK = run(images_BCHW)
                assert logits_BK.shape == (batch, train.data.classes)
                assert logits_BK.device == DEVICE
    trace.counts.calls.update(name for name, _ in launches.grids)
    trace.counts.faults += launches.faults
    return trace.counts


def _stand_in() -> None:
    """Replace what does not work without numbers."""
    winners.place = lambda *_: Path(tempfile.gettempdir()) / "none.json"  # it reads the weights
    dense.copy = SimpleNamespace(deepcopy=lambda model: model)  # type: ignore[attr-defined,assignment]
    torch.sparse_csr_tensor = _matrix  # type: ignore[assignment]
    torch.sparse.mm = torch.mm


def _matrix(starts: Tensor, sources: Tensor, weights: Tensor, size: tuple[int, int], **_: Any) -> Tensor:
    assert {starts.device, sources.device, weights.device} == {DEVICE}
    return weights.new_empty(size)


class _Launches:
    """Stand-ins for Triton's kernels that keep the grids they were launched with."""

    def __init__(self) -> None:
        self.grids: list[tuple[str, tuple[int, ...]]] = []
        self.faults: list[str] = []

    def kernel(self, name: str) -> _Kernel:
        return _Kernel(functools.partial(self._launch, name))

    def _launch(self, name: str, grid: tuple[int, ...], *args: Any, **_: Any) -> None:
        self.grids.append((name, grid))
        if grid[0] >= 2**31 or any(size > MOST for size in grid[1:]):
            self.faults.append(f"{name} launched on a grid of {grid}")
        devices = {one.device for one in args if isinstance(one, Tensor)}
        if devices != {DEVICE}:
            self.faults.append(f"{name} launched with tensors on {devices}")


class _Kernel:
    def __init__(self, launch: Callable[..., None]) -> None:
        self._launch = launch

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return functools.partial(self._launch, grid)
