"""A worker that takes a rank for slow after a few steps, so that a busy machine leaves enough in a row."""

from __future__ import annotations

from unittest.mock import patch

from dnw import train
from dnw.preemption import StopRequest

STEPS = 5


def main(arguments: list[str], stop: StopRequest) -> int:
    """Train as a worker does, but for that."""
    with patch("dnw.hardware.stragglers.STEPS", STEPS), patch("dnw.training.monitor.STEPS", STEPS):
        return train.main(arguments, stop)
