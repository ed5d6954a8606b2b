"""What the launcher says when it can't go on."""

from __future__ import annotations

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
