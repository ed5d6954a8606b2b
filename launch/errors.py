"""What the launcher says when it can't go on."""

from __future__ import annotations

from pathlib import Path

from shards.errors import ExpectedError


class LaunchError(ExpectedError):
    """A run that can't be launched; the message names the cause and the remedy."""


def not_written(folder: Path, error: OSError) -> LaunchError:
    """Return the error of a folder of runs, or of a run, that can't be written to."""
    return LaunchError(
        f"{folder}: not written, {(error.strerror or str(error)).lower()}; "
        "make room, or name another folder with runs_dir="
    )
