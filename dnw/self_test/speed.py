"""What a step takes: calls, milliseconds, images a second, memory, and how long it waits for the loader."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from dnw.self_test.measure import Measured, Setup
from dnw.self_test.training import loader, ready
from dnw.training.data import Batch
from dnw.training.trainer import Trainer
from shards.machine.cores import usable_cores

WARM_UP = 3
STEPS = {"cuda": 20, "cpu": 4}
MOST_LOADERS = 8
MOST_LOADING = 0.5  # of the time of a step
SLOW_S = 0.5  # that a batch takes to be loaded, on purpose


class _Timed:
    """Batches, and how long was waited for them."""

    def __init__(self, batches: Iterator[Batch], delay_s: float) -> None:
        self.waited_s = 0.0
        self._batches, self._delay_s = batches, delay_s

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        began_s = time.perf_counter()
        time.sleep(self._delay_s)
        batch = next(self._batches)
        self.waited_s += time.perf_counter() - began_s
        return batch


def measure(setup: Setup) -> Measured:
    """Return the figures of some steps, with as many loaders as this process has cores to itself."""
    train, world = setup.train, setup.world
    steps = STEPS[world.device.type]
    trainer = ready(train, world)
    cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    workers = min(max(1, cores - 1), MOST_LOADERS)
    batches = iter(loader(train, world, WARM_UP + steps + 1, workers))
    timed = _Timed(batches, SLOW_S if setup.is_faulty else 0.0)
    for _ in range(WARM_UP):
        trainer.step(timed)
    _finish(world.device)
    timed.waited_s, began_s = 0.0, time.perf_counter()
    for _ in range(steps):
        trainer.step(timed)
    _finish(world.device)
    step_s = (time.perf_counter() - began_s) / steps
    share = timed.waited_s / steps / step_s
    parts = {
        "calls": _calls(trainer, timed),
        "ms": f"{1000 * step_s:.1f}",
        "images/s": f"{train.batch / step_s:.0f} by {world.size} processes",
        "memory": f"{_memory_gb(world.device):.2f} GB",
        "loader": f"{share:.0%} of a step, {workers} loaders",
    }
    what = f"{train.model.name}, {train.data.image_size} px, {train.precision}"
    figure = f"{what}: {', '.join(f'{name} {value}' for name, value in parts.items())}"
    return Measured(share <= MOST_LOADING, figure, f"loader at most {MOST_LOADING:.0%}")


def _calls(trainer: Trainer, batches: Iterator[Batch]) -> int:
    """Kernels that one more step launches; without a GPU, operations that it calls."""
    on_gpu = trainer.world.device.type == "cuda"
    activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        trainer.step(batches)
        _finish(trainer.world.device)
    events = profiler.events() or []
    if on_gpu:
        return sum(event.device_type.name == "CUDA" for event in events)
    return sum(_is_operation(event.name) and not _is_within(event) for event in events)


def _is_operation(name: str) -> bool:
    return name.startswith("aten::")


def _is_within(event: FunctionEvent) -> bool:
    """Whether it is a part of another operation."""
    return event.cpu_parent is not None and _is_operation(event.cpu_parent.name)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory_gb(device: torch.device) -> float:
    """Return the most that was in use."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
