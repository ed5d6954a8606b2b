"""Files of the user's home folder, where there is one."""

from __future__ import annotations

from pathlib import Path


def in_home(*parts: str) -> Path | None:
    """Return a path in the home folder; None where HOME isn't set and the user's id has no name.

    So containers run whose platform gives each an id of its own.
    """
    try:
        return Path.home().joinpath(*parts)
    except RuntimeError:
        return None
