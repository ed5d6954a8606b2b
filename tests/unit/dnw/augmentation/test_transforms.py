from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from example import train

from dnw.augmentation.transforms import ImageTransforms, image_transforms

ALL = {"color_jitter": 0.4, "randaugment_ops": 2, "random_erase": 0.5}
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def transforms(**settings: Any) -> ImageTransforms:
    found = image_transforms(train(augment=settings))
    assert found is not None
    return found


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    assert image_transforms(train()) is None


def test_changes_are_a_function_of_seed_epoch_and_place() -> None:
    changed = transforms(**ALL)
    shown = {key: changed(NOISE, key).tobytes() for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(set(shown.values())) == 4
    sent = pickle.loads(pickle.dumps(changed))  # noqa: S301
    assert sent(NOISE, (0, 0, 0)).tobytes() == shown[0, 0, 0]


def test_number_of_threads_changes_nothing() -> None:
    """The mean brightness of so large an image is no whole number of float32."""
    large = np.random.default_rng(1).integers(200, 256, (448, 448, 3), dtype=np.uint8)
    changed, threads = transforms(color_jitter=0.4), torch.get_num_threads()
    shown = set()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            shown.add(changed(large, (0, 0, 3)).tobytes())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert len(shown) == 1


def test_what_is_turned_on_besides_changes_no_other_draw() -> None:
    """The rectangle is erased last, and where it was before."""
    alone, together = transforms(random_erase=1.0), transforms(random_erase=1.0, color_jitter=0.4)
    for place in range(5):
        key = (0, 0, place)
        erased = (alone(NOISE, key) == 128).all(2)
        assert erased.any()
        assert ((together(NOISE, key) == 128).all(2) == erased).all()


def test_erased_are_2_to_33_percent_of_as_many_images_as_asked_for() -> None:
    changed = transforms(random_erase=0.4)
    white = np.full((64, 64, 3), 255, np.uint8)
    shares = np.array([(changed(white, (0, 0, place)) == 128).all(2).mean() for place in range(300)])
    assert 0.3 < (shares > 0).mean() < 0.5
    assert 0.015 < shares[shares > 0].min() < 0.06
    assert 0.25 < shares.max() < 0.36


def test_jitter_of_a_grey_image_changes_brightness_and_contrast_and_leaves_it_grey() -> None:
    """An image of one channel is read as three that are equal."""
    grey = np.repeat(NOISE[:, :, :1], 3, axis=2)
    shown = [transforms(color_jitter=0.4)(grey, (0, 0, place)).astype(int) for place in range(20)]
    assert all(np.ptp(one, axis=2).max() <= 1 for one in shown)
    assert np.ptp([one.mean() for one in shown]) > 40


@pytest.mark.parametrize("settings", [{"trivial": True}, ALL])
def test_no_change_is_larger_than_the_image(settings: dict[str, Any]) -> None:
    changed = transforms(**settings)
    for place in range(20):
        shown = changed(NOISE[:9, :, ::-1], (0, 0, place))  # of any layout in memory
        assert shown.shape == (9, 32, 3)
        assert shown.dtype == np.uint8
