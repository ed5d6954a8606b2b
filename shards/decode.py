"""Image files to pixels: RGB, uint8 [height, width, 3], whatever the file holds.

JPEGs go through simplejpeg, which is faster; all else, and every JPEG that it does not take (CMYK, damaged
or merely odd) through Pillow. Both are libjpeg-turbo and give the same pixels. The orientation that a camera
noted (EXIF) is ignored, as torchvision does.
"""

from __future__ import annotations

import io
import math
from functools import cached_property

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom

_JPEG = b"\xff\xd8\xff"


class NoImageError(ValueError):
    """Bytes that are no image, or a damaged one; the message says why."""


class Picture:
    """An image file; its size is known before it is decoded.

    Attributes:
        width: of the image, pixels.
        height: of it.
    """

    def __init__(self, data: bytes) -> None:
        """Read the header. Raises NoImageError."""
        self._data = data
        self._is_jpeg = False
        if data.startswith(_JPEG):
            try:
                self.height, self.width, space, _ = simplejpeg.decode_jpeg_header(data)
                self._is_jpeg = space in {"RGB", "YCbCr", "Gray"}
            except ValueError:
                pass  # Pillow may take it, or says what is wrong
        if not self._is_jpeg:
            self.width, self.height = self._by_pillow.size

    def pixels(self) -> Pixels:
        """Decode the whole image. Raises NoImageError."""
        return self._decoded(1)

    def crop(self, box: Box, enough: int) -> Pixels:
        """Decode a part of the image, to be scaled down; a large JPEG is decoded smaller from the start.

        Not so small that it shows: the shorter side keeps at least `enough` pixels, if it has them.

        Raises:
            NoImageError: it is damaged.
        """
        left, top, right, bottom = box
        whole = self._decoded(enough / min(right - left, bottom - top))
        down, across = whole.shape[0] / self.height, whole.shape[1] / self.width
        rows, columns = (
            (round(top * down), round(bottom * down)),
            (round(left * across), round(right * across)),
        )
        return whole[slice(*rows), slice(*columns)]

    def _decoded(self, scale: float) -> Pixels:
        """All of it; a JPEG scaled down by the decoder, in eighths, to no less than `scale`."""
        if self._is_jpeg:
            height, width = (
                math.ceil(side * scale) if scale < 1 else 0 for side in (self.height, self.width)
            )
            try:
                return np.asarray(
                    simplejpeg.decode_jpeg(self._data, "RGB", min_height=height, min_width=width)
                )
            except ValueError:
                pass  # what this library refuses, Pillow may still read
        try:
            return np.array(self._by_pillow.convert("RGB"))
        except _DAMAGE as error:
            raise _no_image(error) from None

    @cached_property
    def _by_pillow(self) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self._data))
        except _DAMAGE as error:
            raise _no_image(error) from None


_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def _no_image(error: BaseException) -> NoImageError:
    reason = str(error).partition(" <")[0]  # Pillow names its own buffer
    return NoImageError(f"no image that can be read ({reason})")
