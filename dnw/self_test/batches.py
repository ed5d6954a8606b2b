"""Check that batches hold what they should when their consumer is slow: their memory is used again."""

from __future__ import annotations

import time

import torch

from dnw.self_test.measure import Measured, Setup
from dnw.self_test.training import loader
from dnw.training.data import Batch, digest

STEPS, WORKERS = 4, 2
SLOW_S = 0.03


def measure(setup: Setup) -> Measured:
    """Return how many micro-batches differ from those that a process of its own would decode.

    Each is looked at as late as it may be, when the next one has been taken, and by way of the device.
    """
    expected = [digest(batch) for batch in loader(setup.train, setup.world, STEPS, workers=0)]
    found: list[int] = []
    before: tuple[Batch, torch.Tensor] | None = None
    for batch in loader(setup.train, setup.world, STEPS, WORKERS):
        copied_BCHW = batch.images_BCHW.to(setup.world.device, non_blocking=True)
        time.sleep(SLOW_S)
        if before is not None:
            found.append(_digest(*before))
        before = batch, copied_BCHW
    assert before is not None
    if setup.is_faulty:
        before[0].images_BCHW[0, 0, 0, 0] ^= 1
    found.append(_digest(*before))
    wrong = sum(a != b for a, b in zip(found, expected, strict=True))
    figure = (
        f"{wrong} of {len(expected)} micro-batches differ, {WORKERS} loaders, {1000 * SLOW_S:.0f} ms each"
    )
    return Measured(wrong == 0, figure, "0 differ")


def _digest(batch: Batch, copied_BCHW: torch.Tensor) -> int:
    """Of a batch as it is in host memory now; -1 if what was copied to the device isn't the same."""
    is_same = torch.equal(copied_BCHW.cpu(), batch.images_BCHW)
    return digest(batch) if is_same or copied_BCHW is batch.images_BCHW else -1
