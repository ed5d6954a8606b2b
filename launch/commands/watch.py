"""Text kept up to date: redrawn in place on a terminal, printed again where there is none."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from rich.console import RenderableType

from dnw.console import PlainConsole
from shards import terminal

T = TypeVar("T")
# Waited for, instead of handled: a redraw within one that is under way would mix both.
TAKEN = {signal.SIGWINCH, signal.SIGTSTP}


def can_redraw(console: PlainConsole) -> bool:
    """Whether stdout is a terminal that can move its cursor; FORCE_COLOR makes none of a file."""
    return sys.stdout.isatty() and not console.is_dumb_terminal


def repeat(act: Callable[[], None], every_s: float) -> None:
    """Act every so many seconds until Ctrl-C.

    Args:
        act: what to do; the first time at once.
        every_s: seconds between the end of one and the beginning of the next.
    """
    try:
        while True:
            act()
            time.sleep(every_s)
    except KeyboardInterrupt:
        return


def redraw(
    console: PlainConsole,
    look: Callable[[], T],
    draw: Callable[[T, int | None], RenderableType],
    every_s: float,
) -> None:
    """Show what is seen on a screen of its own until Ctrl-C; what was seen last then stays on the terminal.

    A window whose size changes is redrawn at once; Ctrl-Z gives the terminal back until `fg`.

    Args:
        console: on a terminal.
        look: what there is to be seen; asked again and again.
        draw: how it looks in so many lines; None: however many it takes.
        every_s: seconds between two looks.
    """
    terminal.unwind_when_ended()  # the terminal gets its own screen back
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
    last: _Seen[T] | None = None
    try:
        while True:
            with console.screen() as screen:
                while True:
                    if last is None or time.monotonic() >= last.until:
                        last = _Seen(look(), time.monotonic() + every_s)
                    screen.update(draw(last.found, console.height))
                    if _pause(last.until - time.monotonic()) == signal.SIGTSTP:
                        break
            os.kill(os.getpid(), signal.SIGSTOP)  # until fg
    except KeyboardInterrupt:
        if last is not None:
            console.print(draw(last.found, None))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Seen(Generic[T]):
    """What was found at a look, and until when that holds, by time.monotonic."""

    def __init__(self, found: T, until: float) -> None:
        self.found, self.until = found, until


def _pause(seconds: float) -> int | None:
    """Wait; return the signal that ended it, if one did."""
    told = signal.sigtimedwait(TAKEN, max(0.0, seconds))
    return told.si_signo if told else None
