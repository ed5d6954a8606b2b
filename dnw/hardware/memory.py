"""The memory of a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import platform

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
