"""The log of a process that feeds a tracker: how a problem stands there, and which one was the last."""

from __future__ import annotations

import re
import time

OVER = "sent again"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (.+)")


def line(problem: str) -> str:
    """Return the line of a problem, with the time; of an empty one, that it is over."""
    return f"{time.strftime('%F %T')}  {problem or OVER}"


def last(told: str) -> str:
    """Return the problem that was told last; "" if that is over, or there was none.

    Args:
        told: what the process has printed, and its library.
    """
    found = [one[1] for one in map(LINE.fullmatch, told.splitlines()) if one is not None]
    return "" if not found or found[-1] == OVER else found[-1]
