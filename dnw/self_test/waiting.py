"""Check that a training step never waits for the device between two log lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dnw.self_test.measure import Measured, Setup
from dnw.self_test.training import loaded, ready

WARM_UP, STEPS = 2, 3
WAITING = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2"})


class WaitsError(RuntimeError):
    """An operation that would wait for a device."""


class _NoWaiting(TorchDispatchMode):
    """Raises where an operation would wait, were its tensors on a GPU."""

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        if operation.overloadpacket.__name__ in WAITING:
            raise WaitsError(f"{operation}")
        return operation(*given, **(named or {}))


def measure(setup: Setup) -> Measured:
    """Return whether STEPS steps ran without an operation that waits."""
    trainer = ready(setup.train, setup.world)
    batches = loaded(setup.train, setup.world, WARM_UP + STEPS)
    for _ in range(WARM_UP):
        trainer.step(batches)
    if setup.is_faulty:
        trainer.model.register_forward_pre_hook(_look_at_a_value)
    on_gpu = setup.world.device.type == "cuda"
    how = "set_sync_debug_mode" if on_gpu else "no GPU here: operations that would wait on one"
    held_to = f"none in {STEPS} steps"
    try:
        with _forbidden(on_gpu):
            for _ in range(STEPS):
                trainer.step(batches)
    except RuntimeError as error:
        return Measured(False, f"{how}: {str(error).splitlines()[0]}", held_to)
    return Measured(True, f"{how}: none", held_to)


def _look_at_a_value(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    inputs[0].sum().item()


@contextlib.contextmanager
def _forbidden(on_gpu: bool) -> Iterator[None]:
    if not on_gpu:
        with _NoWaiting():  # type: ignore[no-untyped-call]
            yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
