"""Image files to pixels: RGB, uint8 [height, width, 3], whatever the file holds.

JPEGs go through simplejpeg, which is faster; all else, and every JPEG that it does not take (CMYK, damaged
or merely odd) through Pillow, as all of them do where simplejpeg isn't installed: on a machine that only uses
a trained network. Both are libjpeg-turbo and give the same pixels. The orientation that a camera
noted (EXIF) is ignored, as torchvision does.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom

_SIDES = 8  # of what is cut out of the centre, nothing beyond is seen; scaled up, it would fill the memory
_JPEG = b"\xff\xd8\xff"
# second byte of the marker of a frame, but for those of Huffman tables, extensions and arithmetic coding
_FRAMES = (*set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}, 0xF7)
_BASELINE = "save it as a baseline JPEG of 8 bits"


class NoImageError(ValueError):
    """Bytes that are no image that can be read; the message says why, `reason` in fewer words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no image that can be read ({reason})")
        self.reason = reason


class TooLargeError(NoImageError):
    """An image of more pixels than Pillow takes unasked: a small file may fill the memory."""


@contextlib.contextmanager
def at_most(pixels: int) -> Iterator[None]:
    """Take images of up to so many pixels meanwhile, however small their files are."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", Image.DecompressionBombWarning
            )  # Pillow refuses twice as many only
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


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
        if simplejpeg is not None and data.startswith(_JPEG):
            try:
                self.height, self.width, space, _ = simplejpeg.decode_jpeg_header(data)
                self._is_jpeg = space in {"RGB", "YCbCr", "Gray"}
            except ValueError:
                pass  # Pillow may take it, or says what is wrong
        if self._is_jpeg:
            _refuse_bomb(self.width * self.height)
        else:
            self.width, self.height = self._by_pillow.size

    def pixels(self) -> Pixels:
        """Decode the whole image. Raises NoImageError."""
        return self._decoded(1)

    def check(self) -> None:
        """Decode to the end, as `pixels` does, but make of a JPEG an eighth of the width and height.

        All of its coefficients are decoded, which is where damage shows. Raises NoImageError.
        """
        self._decoded(1 / 8)

    @property
    def middle(self) -> Box:
        """The image, or the middle of one that is longer than eight times its shorter side."""
        longest = _SIDES * min(self.width, self.height)
        left, top = (max(0, (side - longest) // 2) for side in (self.width, self.height))
        return left, top, left + min(self.width, longest), top + min(self.height, longest)

    def scaled_to(self, short: int) -> tuple[int, int]:
        """Return width and height of the middle where its shorter side is scaled to `short` pixels."""
        left, top, right, bottom = self.middle
        width, height = right - left, bottom - top
        scale = short / min(width, height)
        return max(short, round(width * scale)), max(short, round(height * scale))

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
            return np.array(rgb(self._by_pillow))
        except NoImageError:
            raise
        except Exception as error:  # damage raises almost anything: OSError, SyntaxError, struct.error
            raise _no_image(error, self._data) from None

    @cached_property
    def _by_pillow(self) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self._data), formats=_formats())
        except Exception as error:  # as above
            raise _no_image(error, self._data) from None


def scaled_down(data: bytes, longest: int) -> Image.Image | None:
    """Decode an image to RGB, its longest side scaled to `longest` pixels; None where it is no larger.

    Of a much larger JPEG no more than twice these pixels are decoded.

    Raises:
        NoImageError: as `Picture.pixels`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if max(image.size) <= longest:
                return None
            image.draft("RGB", (2 * longest, 2 * longest))
            small = rgb(image)
    except NoImageError:
        raise
    except Exception as error:  # as in Picture
        raise _no_image(error, data) from None
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return small


@cache
def _formats() -> list[str]:
    """Return what Pillow may take a file for: not EPS, which is a program that Ghostscript would run."""
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB: its first picture, transparency left out, 16 bits of grey scaled to 8.

    Raises:
        NoImageError: its numbers have no scale, as those of 32 bits.
    """
    image.load()
    image.info.pop("transparency", None)  # what it makes invisible keeps its colour, and no one is warned
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(((wide + 128) // 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise NoImageError(f"32 bits a pixel, mode {image.mode}, whose white isn't known")
    return image.convert("RGB")


def _refuse_bomb(pixels: int) -> None:
    """Refuse as many pixels as Pillow does, which simplejpeg would take. Raises TooLargeError."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > 2 * limit:
        raise TooLargeError(f"{pixels} pixels, above {2 * limit}")


def _no_image(error: BaseException, data: bytes) -> NoImageError:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return TooLargeError(
            re.sub(
                r"^Image size \((\d+) pixels\) exceeds limit of (\d+).*", r"\1 pixels, above \2", str(error)
            )
        )
    reason = str(error).partition(" <")[0]  # Pillow names its own buffer
    return NoImageError(_rare_jpeg(data) or reason)


def _rare_jpeg(data: bytes) -> str:
    """Return of which kind a JPEG is that few programs read, and what helps; "" where it is none."""
    place = 2
    while data.startswith(_JPEG) and data[place : place + 1] == b"\xff" and place + 4 < len(data):
        marker, bits = data[place + 1], data[place + 4]
        if marker in _FRAMES:
            kinds = ["JPEG-LS"] if marker == 0xF7 else ["lossless"] if marker % 4 == 3 else []
            kinds += ["hierarchical"] if marker in {0xC5, 0xC6, 0xCD, 0xCE} else []
            kinds += [f"{bits} bits a colour"] if bits != 8 else []
            return f"a JPEG of a rare kind, {', '.join(kinds)}: {_BASELINE}" if kinds else ""
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return ""
