"""A network in compact form to export, and its card."""

from __future__ import annotations

import pytest
import torch
from drawn_networks import (
    Oddity,
    drawn,
    of_small_blocks,
)
from torch import Tensor, nn

from dnw.exported.model_file import Card

CARD = Card(
    run="example-0123456789",
    step=10,
    image_size=32,
    resize=None,
    mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.2, 0.1),
    classes=10,
    class_names=None,
)


ODD = Oddity(density=0.3, unread=0.2, unfed=0.3)


KINDS = ("mobilenet", "small", "static")


def odd_network(kind: str, monkeypatch: pytest.MonkeyPatch, oddity: Oddity = ODD) -> nn.Module:
    of_small_blocks(monkeypatch)
    return drawn(kind, 32, oddity=oddity)


def expected_of(network: nn.Module, images_BCHW: Tensor) -> Tensor:
    with torch.no_grad():
        logits_BK: Tensor = network(images_BCHW)
    return logits_BK
