from __future__ import annotations

import importlib
import itertools
from types import ModuleType

import numpy as np
import pytest
import torch

from dnw.augmentation.policy import WIDE, Policy
from dnw.models.torchvision_cpu import torchvision


@pytest.fixture(scope="module")
def v2() -> ModuleType:
    torchvision()
    return importlib.import_module("torchvision.transforms.v2")


def image() -> torch.Tensor:
    """Colours that no operation leaves as they are, and no two operations change alike."""
    rows = torch.arange(24).view(-1, 1) * 4 + torch.arange(24) * 5
    return torch.stack([rows % 200 + 30, rows // 2 + 50, 190 - rows // 3]).to(torch.uint8)


@pytest.mark.parametrize(("name", "level"), [("RandAugment", 13), ("TrivialAugmentWide", None)])
def test_operations_are_those_of_torchvision(v2: ModuleType, name: str, level: int | None) -> None:
    """All that torchvision's class gives is among what ours does, and all 14 operations come up."""
    theirs = v2.RandAugment(1, 13) if level else v2.TrivialAugmentWide()
    policy = Policy(v2.functional, 1, level)
    ours: dict[bytes, set[int]] = {}
    for which, direction, strength in itertools.product(range(14), (0.2, 0.8), [0] if level else range(31)):
        drawn = np.array([(which + 0.5) / 14, direction, (strength + 0.5) / 31])
        ours.setdefault(policy(image(), drawn).numpy().tobytes(), set()).add(which)
    torch.manual_seed(0)
    met = [ours[theirs(image()).numpy().tobytes()] for _ in range(150)]
    assert set().union(*met) == set(range(len(WIDE)))


def test_operations_follow_each_other(v2: ModuleType) -> None:
    one, two = Policy(v2.functional, 1, 9), Policy(v2.functional, 2, 9)
    drawn = np.random.default_rng(0).random(two.numbers)
    assert torch.equal(two(image(), drawn), one(one(image(), drawn[:3]), drawn[3:]))
