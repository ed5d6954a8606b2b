"""Where the kernel keeps what it says of this process's control group, and of those above it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self/cgroup")
HIERARCHY = Path("/sys/fs/cgroup")


def folders(controller: str, process: Path = PROCESS, hierarchy: Path = HIERARCHY) -> Iterator[Path]:
    """Yield the folder of this process's control group, then those above it.

    In a container the process's path may be the host's, and not be there; the topmost folder then is that of
    the container's own group.

    Args:
        controller: "cpu" or "memory"; with version 2 all have the same folders.
        process: the file that names the groups of this process.
        hierarchy: where groups are mounted, version 1 or 2.
    """
    lines = [line.split(":", 2) for line in text(process).splitlines() if line.count(":") >= 2]
    first = [
        hierarchy / controller / _inside(path) for _, names, path in lines if controller in names.split(",")
    ]
    second = [hierarchy / _inside(path) for number, names, path in lines if number == "0" and not names]
    for own in first or second:
        yield own
        yield from (above for above in own.parents if above.is_relative_to(hierarchy))


def text(path: Path) -> str:
    """Return what a file of the kernel says; empty if it isn't this version's, or isn't for us."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""


def _inside(path: str) -> Path:
    """Return a group's path below the hierarchy; in a namespace of its own it may begin with `/..`."""
    return Path(*(part for part in path.split("/") if part not in {"", ".."}))
