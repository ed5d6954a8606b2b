from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dnw.augmentation.mixing import Mix, mix
from dnw.config import Augmentation

IMAGES = torch.arange(3.0).view(3, 1, 1, 1).repeat(1, 3, 8, 10)
LABELS = torch.tensor([0, 3, 1])


def drawn(augment: Augmentation, count: int = 400) -> list[Mix | None]:
    return [mix(augment, (7, step, number), 32, 48) for step in range(count // 4) for number in range(4)]


def test_nothing_is_drawn_unless_it_is_asked_for() -> None:
    assert mix(Augmentation(), (0, 0, 0), 32, 32) is None


def test_a_mix_is_a_function_of_seed_step_and_micro_batch() -> None:
    augment = Augmentation(mixup=0.2, cutmix=1.0)
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found = [mix(augment, key, 32, 32) for key in keys]
    assert len(set(found)) == 4
    assert [mix(augment, key, 32, 32) for key in keys] == found


def test_what_is_drawn_is_as_often_as_asked_for() -> None:
    found = drawn(Augmentation(mixup=0.2, cutmix=1.0, mix_prob=0.5))
    mixed = [one for one in found if one]
    assert 0.4 < len(mixed) / len(found) < 0.6
    assert 0.4 < sum(one.box is not None for one in mixed) / len(mixed) < 0.6


def test_shares_are_of_the_beta_distribution_and_of_the_box() -> None:
    """Beta(1, 1) is even; with 0.2 one of both images has nearly all."""
    blended = np.array([one.share for one in drawn(Augmentation(mixup=1.0)) if one])
    assert np.abs(np.quantile(blended, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.1
    extreme = np.array([one.share for one in drawn(Augmentation(mixup=0.2)) if one])
    assert ((extreme < 0.1) | (extreme > 0.9)).mean() > 0.6
    for one in drawn(Augmentation(cutmix=1.0), 40):
        assert one
        assert one.box
        left, top, right, bottom = one.box
        assert 0 <= left <= right <= 48
        assert 0 <= top <= bottom <= 32
        assert one.share == 1 - (right - left) * (bottom - top) / (32 * 48)


def test_each_image_gets_a_part_of_the_one_before() -> None:
    blended = Mix(0.75, None).images(IMAGES.clone())
    assert blended[:, 0, 0, 0].tolist() == [0.5, 0.75, 1.75]
    cut = Mix(0.9, (2, 1, 6, 3)).images(IMAGES.clone())
    assert cut[:, 0, 2, 5].tolist() == [2.0, 0.0, 1.0]
    assert (cut != IMAGES).sum((1, 2, 3)).tolist() == [3 * 4 * 2] * 3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_mixed_classes(smoothing: float) -> None:
    """As torch computes it of classes given as shares."""
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    one = Mix(0.3, None)
    shares = 0.3 * F.one_hot(LABELS, 5) + 0.7 * F.one_hot(LABELS.roll(1), 5)
    found = one.loss(lambda of: F.cross_entropy(logits, of, label_smoothing=smoothing), LABELS)
    assert torch.allclose(found, F.cross_entropy(logits, shares, label_smoothing=smoothing))
    assert one.shown(LABELS).tolist() == [1, 0, 3]
