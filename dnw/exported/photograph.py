"""An image file as a network's evaluation sees it: read, scaled, and the centre cut out. Without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dnw.exported.model_file import Card
from shards.decode import NoImageError, Picture
from shards.errors import ExpectedError
from shards.files.regular_file import read_bytes


class PhotographError(ExpectedError):
    """A file that can't be read, or is no image."""


def read(file: Path, card: Card) -> NDArray[np.uint8]:
    """Return an image file as [3, image_size, image_size], colours from 0 to 255.

    The shorter side is scaled to the card's `resize`, each pixel an average over all that it covers; then the
    centre is cut out. An image that is `stored` to both sides is scaled to image_size, and so is any where
    there is no `resize`: the network was trained on images of that one size. The orientation that a camera
    noted is ignored, as in training. Scaling is Pillow's, which differs from the evaluation's by rounding.

    Raises:
        PhotographError: it can't be read, or is no image.
    """
    try:
        picture = Picture(read_bytes(file))
        is_stored = (picture.width, picture.height) == (card.stored, card.stored)
        short = (None if is_stored else card.resize) or card.image_size
        width, height = picture.scaled_to(short)
        left, top, right, bottom = picture.middle
        middle = Image.fromarray(picture.pixels()[top:bottom, left:right])
        scaled = middle.resize((width, height), Image.Resampling.BILINEAR)
    except OSError as error:
        raise PhotographError(f"{file}: can't be read ({error.strerror})") from None
    except NoImageError as error:
        raise PhotographError(f"{file}: {error}") from None
    size = card.image_size
    left, top = (width - size) // 2, (height - size) // 2
    pixels_HWC = np.asarray(scaled.crop((left, top, left + size, top + size)))
    return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))
