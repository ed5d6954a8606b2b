"""Files that go to a tracker, after all else: their store may be another one than that of curves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dnw.tracking.tracker import TrackerError

PAUSE_S, SHARE = 60.0, 10.0  # between two tries of the same: so long, and as many times what the last took


class Files:
    """What has been sent of files; one that can't be costs a line, and keeps nothing else from being sent."""

    def __init__(self) -> None:
        self._sent: dict[str, Any] = {}
        self._failed: dict[str, tuple[Any, str, float]] = {}  # state, why, when to try it again

    def send(self, name: str, state: Any, act: Callable[[], object]) -> bool:
        """Send a file, unless it is there in this state, or failed a moment ago.

        Args:
            name: of the file.
            state: what tells it from what was sent before, such as a digest.
            act: sends it, or raises TrackerError.

        Returns:
            whether it is there.
        """
        began = time.monotonic()
        before, _, again = self._failed.get(name, (None, "", 0.0))
        if self._sent.get(name) == state:
            return True
        if before == state and began < again:
            return False
        try:
            act()
        except TrackerError as error:
            ended = time.monotonic()
            again = ended + max(PAUSE_S, SHARE * (ended - began))
            self._failed[name] = (state, str(error), again)
            return False
        self._failed.pop(name, None)
        self._sent[name] = state
        return True

    @property
    def unsent(self) -> str:
        """Which files could not be sent, and why, for people; empty if all were."""
        if not self._failed:
            return ""
        _, why, _ = next(iter(self._failed.values()))
        return f"{why} (so these files are not sent, all else is: {', '.join(self._failed)})"
