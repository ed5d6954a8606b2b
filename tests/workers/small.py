"""A worker whose MobileNetV1-like network has a quarter of the channels.

The weights of a whole one take seconds to draw, to choose among and to save.
"""

from __future__ import annotations

from dnw import train
from dnw.models import mobilenet
from dnw.preemption import StopRequest

BLOCKS = ((8, 16, 1, 1), (16, 32, 2, 2), (32, 64, 2, 2), (64, 128, 2, 6), (128, 256, 2, 2))
FEATURES = BLOCKS[-1][1]


def main(arguments: list[str], stop: StopRequest) -> int:
    """Train as a worker does, with that network."""
    mobilenet.BLOCKS, mobilenet.FEATURES = BLOCKS, FEATURES
    return train.main(arguments, stop)
