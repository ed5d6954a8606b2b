"""What files held when they were read last: they are read again only once they have changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Stamp = tuple[int, int, int] | None


def stamp(path: Path) -> Stamp:
    """Return what changes whenever a file or folder does: its number, size and time; None if it isn't there.

    Raises:
        OSError: nobody can tell, but for a file that isn't there.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class Remembered:
    """Values by the files that they were read from."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[tuple[str, Path], tuple[tuple[Stamp, ...], Any]] = {}

    def of(self, name: str, paths: tuple[Path, ...], read: Callable[[], T]) -> T:
        """Return what `read` returns, or returned when the files were as they are now.

        Args:
            name: of this kind of value.
            paths: files that it follows from, the first of which it is of.
            read: makes it; what it raises is raised, and not remembered.
        """
        stamps = tuple(map(stamp, paths))  # before reading: what changes meanwhile is read again
        known = self._known.get((name, paths[0]))
        if known is not None and known[0] == stamps:
            value: T = known[1]
            return value
        value = read()
        self._known[name, paths[0]] = stamps, value
        return value

    def forget_all_but(self, folders: set[Path]) -> None:
        """Forget what was read from files that are directly in none of these folders."""
        for name, path in [key for key in self._known if key[1].parent not in folders]:
            del self._known[name, path]
