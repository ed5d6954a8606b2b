"""Kernels that give the same bits each time, and what to say where there is none."""

from __future__ import annotations

import os
import re

import torch

from dnw.config import Train

_NO_KERNEL = re.compile(r"(\w+) does not have a deterministic implementation")


def hold_to_one_algorithm(is_deterministic: bool) -> None:
    """Have every kernel give the same bits each time, or let torch choose the fastest.

    Where a kernel has no such variant torch raises in its first call; see `nondeterministic`.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses to be deterministic
    # use_deterministic_algorithms() does this and imports the compiler
    torch.set_deterministic_debug_mode("error" if is_deterministic else "default")
    # It would fill new memory with NaN, a kernel for every tensor: nothing here reads memory that it has not
    # written (tests/unit/test_determinism.py).
    torch._C._set_deterministic_fill_uninitialized_memory(False)
    torch.backends.cudnn.benchmark = not is_deterministic


def nondeterministic(error: BaseException, train: Train) -> str | None:
    """Return what to say of an operation without a deterministic kernel; None for any other exception."""
    found = _NO_KERNEL.search(str(error))
    if found is None or not isinstance(error, RuntimeError):
        return None
    return (
        f"model.name: {train.model.name} needs {found[1]}, which has no deterministic kernel on this device; "
        "set deterministic=false (it then goes on after a stop, but to other bits), or train another network"
    )
