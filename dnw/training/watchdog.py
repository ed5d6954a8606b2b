"""The watchdog: a process that makes no progress prints its stacks, and ends.

One rank that waits for ever makes all others wait for it. Each watches itself: those that wait in a
collective operation see no progress either, so the attempt ends everywhere, and is started again; a rank that
is stuck in C code which never lets this thread run is then killed by torchrun.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

HUNG = 70  # exit code (EX_SOFTWARE): the others are about to end in the same way
LOOKS = 20  # per patience


def patience_s(watchdog_s: float) -> float:
    """Return the time-out of collective operations beside a watchdog of so many seconds; 0: it is off.

    The watchdog speaks first: it prints the stacks and notes the hang, where NCCL just aborts. Without it the
    time-out is all that ends a hang. Ranks that begin late, on a busy machine, are waited for as long.
    """
    return max(600.0, 2 * watchdog_s) if watchdog_s > 0 else 1800.0


class Watchdog:
    """Ends this process once `progress` wasn't called for some time."""

    def __init__(self, seconds: float, last_word: Callable[[int], None]) -> None:
        """Watch nothing before `start`.

        Args:
            seconds: patience; longer than anything between two steps (the first one, an evaluation's batch,
                a save). 0: no watchdog.
            last_word: called with the last step, when the stacks are printed; then the process ends.
        """
        self.step = 0
        self._patience_s = seconds
        self._idle_s = 0.0
        self._last_word = last_word

    def start(self) -> None:
        """Watch from now on."""
        if self._patience_s > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def progress(self, step: int) -> None:
        """Something was done; `step` optimizer steps in all."""
        self.step = step
        self._idle_s = 0.0

    def _watch(self) -> None:
        tick_s = min(self._patience_s / LOOKS, 5.0)
        while self._idle_s < self._patience_s:
            time.sleep(tick_s)
            self._idle_s += tick_s  # not by the clock: a process that was suspended did not hang meanwhile
        print(
            f"no progress for {self._patience_s:g} s after step {self.step} (watchdog.seconds); stacks:",
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(all_threads=True)
        self._last_word(self.step)
        os._exit(HUNG)
