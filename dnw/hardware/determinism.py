"""Kernels that give the same bits each time."""

from __future__ import annotations

import os

import torch


def hold_to_one_algorithm(is_deterministic: bool) -> None:
    """Have every kernel give the same bits each time, or let torch choose the fastest.

    Where a kernel has no such variant torch raises in its first call; see dnw/nondeterministic.py.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses to be deterministic
    # use_deterministic_algorithms() does this and imports the compiler
    torch.set_deterministic_debug_mode("error" if is_deterministic else "default")
    # It would fill new memory with NaN, a kernel for every tensor: nothing here reads memory that it has not
    # written (tests/unit/dnw/hardware/test_determinism.py).
    torch._C._set_deterministic_fill_uninitialized_memory(False)
    torch.backends.cudnn.benchmark = not is_deterministic
