import dataclasses
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from shards.decode import Picture
from shards.errors import ShardError
from shards.sources.source import (
    BadImageError,
    FilePart,
    ImageFile,
    Pixels,
    Smaller,
    Source,
    pixel_split,
    smaller,
)


def jpeg(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), 7).save(file, "JPEG")
    return file.getvalue()


def test_a_file_is_copied_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.JPEG"
    path.write_bytes(jpeg(4, 3))
    assert ImageFile(path).encode() == ("jpg", path.read_bytes())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ShardError, match=r"a\.JPEG: not a readable image .*\)$"):
        ImageFile(path).encode()


def test_a_part_of_a_file_is_copied_as_it_is(tmp_path: Path) -> None:
    path, data = tmp_path / "a.tar", jpeg(4, 3)
    path.write_bytes(b"12345" + data + b"67")
    assert FilePart(path, 5, len(data), "n1/b.jpeg").encode() == ("jpg", data)
    with pytest.raises(ShardError, match=r"a\.tar: n1/b\.jpeg at byte 4: not a readable image"):
        FilePart(path, 4, len(data), "n1/b.jpeg").encode()


def test_only_what_is_larger_is_made_smaller(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (40, 10)).save(path)
    extension, data = Smaller(ImageFile(path), longest=20, quality=90).encode()
    with Image.open(io.BytesIO(data)) as image:
        assert (extension, image.format, image.mode, image.size) == ("jpg", "JPEG", "RGB", (20, 5))
    assert Smaller(ImageFile(path), longest=40, quality=90).encode() == ("png", path.read_bytes())


@pytest.mark.parametrize("longest", [5, 20, 100])
def test_what_is_made_smaller_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    path, decoded = tmp_path / "a.jpg", list[str]()
    Image.effect_noise((80, 60), 50).save(path)
    by_simplejpeg, by_pillow = Picture.check, JpegImagePlugin.JpegImageFile.draft

    def check(self: Picture) -> None:
        decoded.append("whole")
        by_simplejpeg(self)

    def draft(self: JpegImagePlugin.JpegImageFile, mode: str, size: tuple[int, int]) -> object:
        decoded.append("half")
        return by_pillow(self, mode, size)

    monkeypatch.setattr(Picture, "check", check)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", draft)
    Smaller(ImageFile(path), longest, quality=90).encode()
    assert decoded == (["half"] if longest < 80 else ["whole"])


@pytest.mark.parametrize("size", [0, 3, 300, 3000, -40])
def test_what_is_made_smaller_is_refused_as_what_is_not(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((300, 200), 50).save(path)
    path.write_bytes(path.read_bytes()[:size])
    said = []
    for picture in (ImageFile(path), Smaller(ImageFile(path), 50, 90), Smaller(ImageFile(path), 500, 90)):
        with pytest.raises(BadImageError, match=r"a\.jpg: not a readable image \(") as caught:
            picture.encode()
        said.append(str(caught.value))
    assert len(set(said)) == 1


def test_too_many_pixels_to_make_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(80, 60))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # twice as many are an error
    with pytest.raises(BadImageError, match="4800 pixels, above 2000: --max-pixels N takes it"):
        Smaller(ImageFile(path), 20, 90).encode()
    assert Smaller(ImageFile(path), 20, 90, max_pixels=4800).encode()[0] == "jpg"


def test_pixels_are_kept_without_loss() -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    extension, data = Pixels(values).encode()
    assert extension == "png"
    assert (np.asarray(Image.open(io.BytesIO(data))) == values).all()


def test_the_identity_of_a_split_follows_images_and_labels() -> None:
    images, labels = np.zeros((2, 4, 4), np.uint8), np.array([1, 0])
    split = pixel_split("train", images, labels)
    assert (split.keys, split.labels) == (["train-000000", "train-000001"], [1, 0])
    assert pixel_split("val", images.copy(), labels).identity == split.identity
    changed = images.copy()
    changed[1, 3, 3] = 1
    others = [pixel_split("train", changed, labels), pixel_split("train", images, labels[::-1])]
    assert len({split.identity, *(other.identity for other in others)}) == 3


def test_a_smaller_source_says_so() -> None:
    source = Source(
        "x", ("a",), {"train": pixel_split("train", np.zeros((1, 4, 4), np.uint8), np.array([0]))}, "-"
    )
    changed = smaller(source, longest=2, quality=80)
    (picture,) = changed.splits["train"].pictures
    assert isinstance(picture, Smaller)
    assert picture.encode()[0] == "jpg"
    assert dataclasses.replace(changed, splits=source.splits, changed={}) == source
    assert changed.changed == {"longest": 2, "quality": 80}


def bomb() -> bytes:
    """A PNG of 400 million pixels in 100 bytes, whose rows are missing: Pillow refuses it by its header."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_a_bomb_is_refused_with_the_option_that_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bomb())
    with pytest.raises(ShardError, match=r"400000000 pixels, above \d+: --max-pixels N takes it"):
        ImageFile(path).encode()
    Image.new("RGB", (90, 40)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # refuses 3,000
    with pytest.raises(ShardError, match="3600 pixels, above 3000: --max-pixels N takes it"):
        Smaller(ImageFile(path), longest=20, quality=90).encode()
    with pytest.raises(ShardError, match="3600 pixels, above 3599"):
        Smaller(ImageFile(path), longest=20, quality=90, max_pixels=3599).encode()
    assert Smaller(ImageFile(path), longest=20, quality=90, max_pixels=3600).encode()[0] == "jpg"
    assert Image.MAX_IMAGE_PIXELS == 1500


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((40, 40), 0x4000, np.uint16)).save(path)
    extension, data = Smaller(ImageFile(path), longest=20, quality=100).encode()
    assert extension == "jpg"
    assert np.asarray(Image.open(io.BytesIO(data))).tolist() == [[[64, 64, 64]] * 20] * 20
