"""Image files to pixels: as Pillow decodes them, whatever they hold."""

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards.decode import NoImageError, Picture, TooLargeError


def photograph(width: int, height: int, grain: int = 16) -> Image.Image:
    """Spots of so many pixels, smoothly passing into each other."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (height // grain + 2, width // grain + 2, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, which is ignored
    return encoded(photograph(40, 30), "JPEG", exif=exif)


def without_adobe() -> bytes:
    data = encoded(photograph(64, 48).convert("CMYK"), "JPEG")
    start = data.index(b"\xff\xee")
    size = int.from_bytes(data[start + 2 : start + 4])
    return data[:start] + data[start + 2 + size :]


FILES: dict[str, Callable[[], bytes]] = {
    "4:2:0": lambda: encoded(photograph(501, 377), "JPEG", quality=90),
    "4:4:4": lambda: encoded(photograph(333, 251), "JPEG", quality=95, subsampling=0),
    "4:2:2": lambda: encoded(photograph(97, 63), "JPEG", subsampling=1),
    "progressive": lambda: encoded(photograph(200, 120), "JPEG", progressive=True),
    "grey": lambda: encoded(photograph(64, 48).convert("L"), "JPEG"),
    "CMYK": lambda: encoded(photograph(64, 48).convert("CMYK"), "JPEG"),
    "CMYK of no Adobe": without_adobe,
    "RGB inside": lambda: encoded(photograph(64, 48), "JPEG", keep_rgb=True),
    "a camera's turn": turned,
    "one pixel": lambda: encoded(photograph(1, 1), "JPEG"),
    "png": lambda: encoded(photograph(30, 20), "PNG"),
    "palette": lambda: encoded(photograph(30, 20).convert("P"), "PNG"),
    "alpha": lambda: encoded(photograph(30, 20).convert("RGBA"), "PNG"),
    "grey png": lambda: encoded(photograph(30, 20).convert("L"), "PNG"),
    "black and white": lambda: encoded(photograph(30, 20).convert("1"), "PNG"),
    "grey and alpha": lambda: encoded(photograph(30, 20).convert("LA"), "PNG"),
    "one clear colour": lambda: encoded(photograph(30, 20).quantize(16), "PNG", transparency=3),
    "gif": lambda: encoded(photograph(30, 20), "GIF"),
    "gif of two": lambda: encoded(
        photograph(30, 20), "GIF", save_all=True, append_images=[photograph(30, 20).rotate(180)]
    ),
    "tiff, CMYK": lambda: encoded(photograph(30, 20).convert("CMYK"), "TIFF"),
    "webp": lambda: encoded(photograph(30, 20), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_pillow(name: str) -> None:
    data = FILES[name]()
    picture = Picture(data)
    expected = by_pillow(data)
    assert (picture.height, picture.width, 3) == expected.shape
    assert (picture.pixels() == expected).all()
    left, top, right, bottom = box = (0, 0, (picture.width + 1) // 2, (picture.height + 1) // 2)
    assert (picture.crop(box, enough=10**6) == expected[top:bottom, left:right]).all()


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same() -> None:
    data = encoded(photograph(2000, 1500, grain=64), "JPEG", quality=92)
    box = (300, 100, 1900, 1300)
    found = Picture(data).crop(box, enough=448)
    assert found.shape[:2] == (450, 600)  # three eighths
    small, whole = (
        np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR), np.float32)
        for pixels in (found, by_pillow(data)[100:1300, 300:1900])
    )
    assert np.abs(small - whole).mean() < 4  # of 255


@pytest.mark.parametrize("name", ["4:2:0", "grey", "CMYK", "png", "webp"])
def test_a_cut_file_is_damaged(name: str) -> None:
    data = FILES[name]()
    for size in (0, 2, 10, len(data) // 2):
        with pytest.raises(NoImageError, match="no image that can be read"):
            Picture(data[:size]).pixels()


def test_a_check_finds_what_decoding_would() -> None:
    draw = random.Random(0)
    kinds: list[dict[str, Any]] = [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"restart_marker_blocks": 4},
        {"keep_rgb": True},
    ]
    whole = [encoded(photograph(64, 48, grain=4), "JPEG", **options) for options in kinds]
    found = []
    for number in range(400):
        data = bytearray(whole[number % len(whole)])
        at = draw.randrange(2, len(data))
        if number % 3:
            data[at] ^= 1 << draw.randrange(8)
        else:
            del data[at : at + draw.choice([1, 2, 7, 10_000])]
        reasons = [_reason(read, bytes(data)) for read in (Picture.pixels, Picture.check)]
        assert reasons[0] == reasons[1], number
        found.append(reasons[0])
    assert 100 < found.count("") < 340


def _reason(read: Callable[[Picture], object], data: bytes) -> str:
    try:
        read(Picture(data))
    except NoImageError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_more_pixels_than_are_safe(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    data = encoded(photograph(90, 40), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # refuses 3,000
    with pytest.raises(TooLargeError, match="3600 pixels, above 3000"):
        Picture(data)


def test_what_is_scaled_of_a_very_long_image_is_its_middle() -> None:
    long, usual = (Picture(encoded(photograph(*size), "PNG")) for size in ((3000, 1), (8, 64)))
    assert long.middle == (1496, 0, 1504, 1)
    assert long.scaled_to(256) == (2048, 256)  # 768,000 wide, it would take 600 MB
    assert usual.middle == (0, 0, 8, 64)


def test_what_only_pillow_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes between the segments of a JPEG, as some of ImageNet have, are a warning of the decoder's."""
    data = encoded(photograph(64, 48), "JPEG")
    segment = data.index(b"\xff\xdb")
    odd = data[:segment] + b"\x00\x00" + data[segment:]
    assert (Picture(odd).pixels() == by_pillow(odd)).all()
    assert (by_pillow(odd) == by_pillow(data)).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_of_grey_are_scaled(kind: str) -> None:
    wide = np.array([[0, 128, 129, 257, 25700, 65535 - 129, 65535]], np.uint16)
    data = encoded(Image.fromarray(wide), kind)
    assert Picture(data).pixels()[0].tolist() == [[grey] * 3 for grey in (0, 0, 1, 1, 100, 254, 255)]
    assert by_pillow(data)[0, 3:, 0].tolist() == [255, 255, 255, 255]  # white


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bits_are_refused(kind: type) -> None:
    with pytest.raises(NoImageError, match=r"32 bits a pixel, mode [IF], whose white isn't known"):
        Picture(encoded(Image.fromarray(np.ones((4, 4), kind)), "TIFF")).pixels()


def test_a_palette_with_transparency_gives_its_colours_and_no_warning() -> None:
    image = photograph(30, 20).quantize(16)
    data = encoded(image, "PNG", transparency=bytes(range(16)))
    assert (Picture(data).pixels() == np.asarray(image.convert("RGB"))).all()
