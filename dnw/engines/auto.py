"""Whichever engine is fastest: measured once per network, machine and batch size, and remembered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from dnw.engines import winners

log = logging.getLogger(__name__)
ROUNDS = 5


class Auto:
    """Several engines for one network, and which of them won at each batch size so far."""

    def __init__(self, candidates: Mapping[str, Callable[[Tensor], Tensor]], kept: Path | None) -> None:
        """Make one that remembers its winners in the file `kept`, if there is a place for it."""
        self._candidates = candidates
        self._kept = kept
        self.winners = winners.load(kept)  # by batch size

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Map images to logits; the first batch of its size takes as long as all engines together need."""
        batch = len(images_BCHW)
        if batch not in self.winners:
            self.winners[batch] = self._fastest(images_BCHW)
            if self._kept is not None:
                winners.keep(self._kept, batch, self.winners[batch])
        return self._candidates[self.winners[batch]](images_BCHW)

    def _fastest(self, images_BCHW: Tensor) -> str:
        """In turns, so that whatever else the machine does meets all; the first, which compiles, is lost."""
        seconds = dict.fromkeys(self._candidates, float("inf"))
        for turn in range(1 + ROUNDS):
            for name, engine in self._candidates.items():
                began_s = time.perf_counter()
                engine(images_BCHW)[0, 0].item()  # a GPU answers when it has computed
                if turn:
                    seconds[name] = min(seconds[name], time.perf_counter() - began_s)
        fastest = min(seconds, key=lambda name: seconds[name])
        measured = ", ".join(f"{name} {1e3 * best_s:.2f} ms" for name, best_s in seconds.items())
        log.info("engine %s for batches of %d: %s", fastest, len(images_BCHW), measured)
        return fastest
