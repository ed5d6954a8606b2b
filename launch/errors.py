"""What the launcher says when it can't go on."""

from __future__ import annotations


class LaunchError(RuntimeError):
    """A run that can't be launched; the message names the cause and the remedy."""
