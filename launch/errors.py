"""What the launcher says when it can't go on."""

from __future__ import annotations

import os
from pathlib import Path

from shards.command import is_full
from shards.errors import ExpectedError


class LaunchError(ExpectedError):
    """A run that can't be launched; the message names the cause and the remedy."""


class NodeError(LaunchError):
    """What is wrong with this node, and would be again at once; another one may do."""


def not_written(folder: Path, error: OSError) -> LaunchError:
    """Return the error of a folder of runs, or of a run, that can't be written to."""
    remedy = "make room, or name" if is_full(error) else "name"
    return LaunchError(
        f"{folder}: not written, {(error.strerror or str(error)).lower()}; "
        f"{remedy} another folder with runs_dir="
    )


def check_writable(folder: Path) -> None:
    """Refuse a folder of runs that can't be made, or written to. Raises LaunchError."""
    above = (folder, *folder.parents)
    existing = next(path for path in above if path.exists())
    if broken := next((path for path in above if path.is_symlink() and not path.exists()), None):
        raise LaunchError(
            f"runs_dir: {broken} is a link to {broken.readlink()}, which isn't there; make that"
        )
    if not existing.is_dir():
        raise LaunchError(f"runs_dir: {existing} is a file; name a folder for the runs with runs_dir=")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise LaunchError(f"runs_dir: {existing} can't be written to; name another folder with runs_dir=")
