"""How functions are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

OPTIONS: dict[str, Any] = {
    "_nrt": False,
    "nogil": True,
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
}
compiled: Callable[[Callable[..., Any]], Any] = numba.njit(**OPTIONS)
