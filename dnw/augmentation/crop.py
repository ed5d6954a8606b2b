"""From an image file to pixels of the size that is wanted: a random part of it, or its centre.

Shapes: pixels_HWC, uint8, C = 3 channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from dnw.augmentation.random_box import random_box
from dnw.config import Data
from shards.decode import Picture
from shards.user_class.names import is_user_class

NUMBERS = {"none": 0, "crop_flip": 3, "resized_crop_flip": 41}  # uniform numbers an image needs
OF_ONE_SIZE = frozenset({"none", "crop_flip"})  # these take images of data.image_size alone
RESIZE_TO_CROP = 256 / 224  # of the evaluation recipe for ImageNet
# times the pixels that are wanted: a JPEG decoded to no less still looks the same scaled down
DECODE_OVERSAMPLE = 2


def for_training(picture: Picture, data: Data, size: int, random: np.ndarray) -> np.ndarray:
    """Augment one image with NUMBERS[data.augment] uniform numbers: pixels_HWC, uint8, of `size`.

    Args:
        picture: the encoded image.
        data: says which augmentation.
        size: sides of the result, pixels.
        random: numbers from 0 to below 1, as many as NUMBERS says.

    Raises:
        NoImageError: it is damaged.
    """
    if data.augment == "none":
        return of_size(picture.pixels(), size)
    flip, rest = bool(random[0] < 0.5), random[1:]
    if data.augment == "crop_flip":
        pixels = crop_of_padded(picture.pixels(), 4, rest[0], rest[1])
        return of_size(pixels[:, ::-1] if flip else pixels, size)
    box = random_box(picture.width, picture.height, rest)
    return resized(picture.crop(box, DECODE_OVERSAMPLE * size), size, size, flip)


def for_evaluation(picture: Picture, data: Data) -> np.ndarray:
    """Return the image or, for photographs of any size, its centre, of data.test_size: pixels_HWC, uint8.

    Raises:
        NoImageError: it is damaged.
    """
    stored, size = data.image_size, data.test_size
    is_of_one_size = is_user_class(data.augment) and (picture.width, picture.height) == (stored, stored)
    if data.augment in OF_ONE_SIZE or is_of_one_size:
        return of_size(picture.pixels(), size)
    short = round(size * RESIZE_TO_CROP)
    width, height = picture.scaled_to(short)
    left, top = (width - size) // 2, (height - size) // 2
    middle = picture.crop(picture.middle, DECODE_OVERSAMPLE * short)
    return resized(middle, width, height)[top : top + size, left : left + size]


def of_size(pixels_HWC: np.ndarray, size: int) -> np.ndarray:
    """Return a square image scaled to another size; one of that size as it is."""
    return pixels_HWC if len(pixels_HWC) == size else resized(pixels_HWC, size, size)


def resized(pixels_HWC: np.ndarray, width: int, height: int, flip: bool = False) -> np.ndarray:
    """Scale to another size, bilinear, each new pixel an average over all that it covers; then mirror.

    By torch's kernel for bytes, which is faster than Pillow and differs from it by rounding.

    Args:
        pixels_HWC: uint8.
        width: of the result, pixels.
        height: likewise.
        flip: whether to mirror it, left to right.
    """
    image_1CHW = torch.from_numpy(np.ascontiguousarray(pixels_HWC))[None].permute(0, 3, 1, 2)
    scaled_1CHW = functional.interpolate(image_1CHW, (height, width), mode="bilinear", antialias=True)
    scaled_HWC = scaled_1CHW.permute(0, 2, 3, 1)[0]
    return (scaled_HWC.flip(1) if flip else scaled_HWC).numpy()


def crop_of_padded(pixels_HWC: np.ndarray, pad: int, random_y: float, random_x: float) -> np.ndarray:
    """Return a crop of the image's own size out of the image with `pad` black pixels around it.

    Args:
        pixels_HWC: uint8.
        pad: pixels on each side.
        random_y: 0 to below 1: how far down the crop begins.
        random_x: likewise, to the right.
    """
    height, width, _ = pixels_HWC.shape
    padded = np.pad(pixels_HWC, ((pad, pad), (pad, pad), (0, 0)))
    top, left = int(random_y * (2 * pad + 1)), int(random_x * (2 * pad + 1))
    return padded[top : top + height, left : left + width]
