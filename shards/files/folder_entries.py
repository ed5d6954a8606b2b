"""The entries of a folder, listed so that a failure is told.

`Path.glob` finds nothing where it may not look, and since Python 3.13 nothing wherever a listing fails: with
a file server that is away for a moment a run would look new, or a folder empty.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name. Raises OSError if it can't be listed."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder whose names match a shell's pattern, sorted; none without a folder.

    Args:
        folder: where to look.
        pattern: of names, or of names in folders within: `*/config.yaml`. Those within that are forbidden
            are somebody else's, and passed over.

    Raises:
        OSError: a folder can't be listed.
    """
    head, _, rest = pattern.partition("/")
    try:
        found = entries(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [folder / entry.name for entry in found if fnmatch.fnmatchcase(entry.name, head)]
    return [path for one in paths for path in _within(one, rest)] if rest else paths


def _within(folder: Path, pattern: str) -> list[Path]:
    try:
        return matching(folder, pattern)
    except PermissionError:
        return []


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in those within, links to folders left out; none without a folder.

    Raises:
        OSError: a folder can't be listed.
    """
    if not folder.is_dir():
        return
    for entry in entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)
