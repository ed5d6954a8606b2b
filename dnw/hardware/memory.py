"""The memory of a process that computes on a CPU."""

from __future__ import annotations

import ctypes
import platform

import torch
from torch import Tensor

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_NEVER = -1


def keep_freed() -> None:
    """Have malloc keep what is freed, for as long as the process lives.

    Each step takes and frees the same memory, half a gigabyte and more. By default malloc gives large pieces
    back to the kernel at once, which clears every page of them anew when they are next taken: a fifth of a
    step. Only glibc can be told; another C library is left as it is.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def room(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return new memory for a matrix that products read before all of it is written; in bf16 it holds zeros.

    On CPUs with AMX, oneDNN reads up to 31 columns beyond those that it multiplies, and takes their weights
    for zero. Memory that nobody has written may be NaN there, and NaN times zero is NaN
    (github.com/uxlfoundation/oneDNN/issues/5717).

    Args:
        like: has the type of its values, and the device.
        shape: its sizes.
    """
    if like.dtype == torch.bfloat16 and like.device.type == "cpu":
        return like.new_zeros(shape)
    return like.new_empty(shape)
