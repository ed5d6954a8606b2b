from __future__ import annotations

import io

import numpy as np
from example import train
from PIL import Image

from dnw.augmentation.crop import NUMBERS, for_training
from dnw.augmentation.training_images import AUGMENT, TrainingImages
from dnw.augmentation.transforms import image_transforms
from shards.decode import Picture
from shards.rng import uniforms

KEY = (3, 1, 7)


def photograph() -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return Picture(file.getvalue())


def test_an_image_is_cut_out_then_changed() -> None:
    plain = train(data__augment="resized_crop_flip", data__image_size=24)
    changed = train(data__augment="resized_crop_flip", data__image_size=24, augment={"trivial": True})
    cut = for_training(
        photograph(), plain.data, 24, uniforms(3, AUGMENT, 1, 7, n=NUMBERS["resized_crop_flip"])
    )
    assert np.array_equal(TrainingImages(plain, 120)(photograph(), 24, KEY), cut)
    transforms = image_transforms(changed)
    assert transforms is not None
    assert np.array_equal(TrainingImages(changed, 120)(photograph(), 24, KEY), transforms(cut, KEY))
