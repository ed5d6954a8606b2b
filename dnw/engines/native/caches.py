"""The caches of this machine's CPU, as Linux tells of them."""

from __future__ import annotations

from pathlib import Path

_FIRST_CORE = Path("/sys/devices/system/cpu/cpu0/cache")


def level_1(caches: Path = _FIRST_CORE) -> int:
    """Return how many bytes of data a core's level-1 cache holds, or 0 where the system doesn't tell."""
    return _size(caches, "1")


def level_2(caches: Path = _FIRST_CORE) -> int:
    """Return how many bytes a core's level-2 cache holds, or 0 where the system doesn't tell."""
    return _size(caches, "2")


def _size(caches: Path, wanted: str) -> int:
    for cache in caches.glob("index*"):
        try:
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:  # a virtual machine may have folders without these files
            continue
        if level == wanted and kind != "Instruction" and size.endswith("K") and size[:-1].isdecimal():
            return int(size[:-1]) << 10
    return 0
