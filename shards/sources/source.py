"""What a source of images hands to the writer, whatever it is."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from shards.decode import NoImageError, TooLargeError, at_most, scaled_down
from shards.decode import Picture as Decoded
from shards.errors import ShardError
from shards.files.regular_file import open_file, read_bytes
from shards.ignored import Ignored, printable


class BadImageError(ShardError):
    """An image of a source that can't be read; the message says which one, and why."""


class Picture(Protocol):
    """An image that can be sent to another process and be encoded there."""

    def encode(self) -> tuple[str, bytes]:
        """(file extension, bytes of the image file)."""
        ...


class Stored(NamedTuple):
    """An image file as it is: its bytes, what its name ends in (".jpg"), and where it lies, for messages."""

    data: bytes
    suffix: str
    where: str

    def checked(self) -> tuple[str, bytes]:
        """Return the file extension of an image, and its bytes, once it has been decoded to the end.

        Raises:
            BadImageError: it is no image, or a damaged one.
        """
        try:
            Decoded(self.data).check()  # as readers will decode it
        except NoImageError as error:
            raise self.bad(error) from error
        extension = self.suffix[1:].lower()
        return ("jpg" if extension in {"jpeg", "jfif"} else extension), self.data

    def bad(self, error: NoImageError) -> BadImageError:
        """Return what to say of it."""
        reason = error.reason if self.data else "empty"
        if isinstance(error, TooLargeError):
            reason += ": --max-pixels N takes it"
        return BadImageError(f"{printable(self.where)}: not a readable image ({reason})")


@dataclass(frozen=True)
class ImageFile:
    """An image file, to be copied as it is."""

    path: Path

    def stored(self) -> Stored:
        """Read it. Raises OSError."""
        return Stored(read_bytes(self.path), self.path.suffix, str(self.path))

    def encode(self) -> tuple[str, bytes]:
        """Its extension and bytes, once it has been decoded to the end.

        Raises:
            BadImageError: it is no image, or a damaged one.
            OSError: it can't be read.
        """
        return self.stored().checked()


@dataclass(frozen=True)
class FilePart:
    """An image file inside another file, say a tar, to be copied as it is: `size` bytes from `start` on."""

    path: Path
    start: int
    size: int
    name: str

    def stored(self) -> Stored:
        """Read it. Raises OSError."""
        with open_file(self.path) as file:
            file.seek(self.start)
            data = file.read(self.size)
        return Stored(data, Path(self.name).suffix, f"{self.path}: {self.name} at byte {self.start}")

    def encode(self) -> tuple[str, bytes]:
        """Its extension and bytes, once it has been decoded to the end.

        Raises:
            As ImageFile.encode.
        """
        return self.stored().checked()


@dataclass(frozen=True)
class Smaller:
    """A picture, scaled and encoded anew as JPEG if its longest side is above `longest` pixels."""

    picture: Picture
    longest: int
    quality: int
    max_pixels: int | None = None

    def encode(self) -> tuple[str, bytes]:
        """Extension and bytes; what is small enough stays as it is. Each image is decoded once.

        Raises:
            As that of the picture.
        """
        with nullcontext() if self.max_pixels is None else at_most(self.max_pixels):
            if not isinstance(self.picture, ImageFile | FilePart):  # made of pixels: nothing is damaged
                extension, data = self.picture.encode()
                small = scaled_down(data, self.longest)
                return (extension, data) if small is None else self._jpeg(small)
            stored = self.picture.stored()
            try:
                small = scaled_down(stored.data, self.longest)
            except NoImageError as error:
                raise stored.bad(error) from error
            return stored.checked() if small is None else self._jpeg(small)

    def _jpeg(self, small: Image.Image) -> tuple[str, bytes]:
        file = io.BytesIO()
        small.save(file, "JPEG", quality=self.quality)
        return "jpg", file.getvalue()


def file_of(picture: Picture) -> Path | None:
    """Return the file that holds an image; None where it is in none."""
    while isinstance(picture, Smaller):
        picture = picture.picture
    return picture.path if isinstance(picture, ImageFile | FilePart) else None


def stamp(pictures: Iterable[Picture]) -> str:
    """Return a digest of size and time of change of the files that hold these images; "" where none does.

    Raises:
        OSError: one can't be looked at.
    """
    files = [path for picture in pictures if (path := file_of(picture)) is not None]
    facts = {path: path.stat() for path in dict.fromkeys(files)}
    lines = (
        b"%s %d %d" % (os.fsencode(path), facts[path].st_size, facts[path].st_mtime_ns) for path in files
    )
    return hashlib.sha256(b"\n".join(lines)).hexdigest() if files else ""


@dataclass(frozen=True)
class Pixels:
    """An image as uint8 [H, W] (grey) or [H, W, 3] (RGB), to be stored as PNG, without loss."""

    values: npt.NDArray[np.uint8]

    def encode(self) -> tuple[str, bytes]:
        """Extension and bytes of a PNG file."""
        file = io.BytesIO()
        Image.fromarray(self.values).save(file, "PNG", compress_level=6)
        return "png", file.getvalue()


@dataclass(frozen=True)
class Split:
    """The images of one split, in an order that depends on the source alone.

    Attributes:
        part: what stands for this split in the names of its shards.
        keys: the key of each sample, without a dot, unique over all splits.
        labels: the class of each.
        pictures: the image of each.
        identity: a digest: equal where keys, labels and, as far as known without reading them, images are.
    """

    part: str
    keys: Sequence[str]
    labels: Sequence[int]
    pictures: Sequence[Picture]
    identity: str


@dataclass(frozen=True)
class Source:
    """A data set to be written: the name its shards begin with, classes, splits, and where it came from.

    `changed` says how its images are changed on the way, if they are; `ignored`, what of it is not taken.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    origin: str
    changed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    ignored: Ignored = dataclasses.field(default_factory=Ignored, compare=False)


def smaller(source: Source, longest: int, quality: int, max_pixels: int | None = None) -> Source:
    """Return these images, larger ones scaled to `longest` pixels and encoded as JPEG of `quality`.

    With `max_pixels` images of up to so many are taken, which else would be refused as bombs.

    Args:
        source: of the images.
        longest: side of the result, pixels.
        quality: of the JPEG files, 1 to 100.
        max_pixels: of an image at most; None: as Pillow has it.
    """
    splits = {
        name: dataclasses.replace(
            split, pictures=[Smaller(picture, longest, quality, max_pixels) for picture in split.pictures]
        )
        for name, split in source.splits.items()
    }
    return dataclasses.replace(source, splits=splits, changed={"longest": longest, "quality": quality})


def pixel_split(part: str, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]) -> Split:
    """Return the split of images that are arrays, uint8 [N, H, W] or [N, H, W, 3], labels [N].

    Args:
        part: the split's name.
        images: grey, or RGB.
        labels: of the classes, from 0 on.
    """
    labels = np.asarray(labels, np.int64)
    digest = hashlib.sha256(repr((images.shape, labels.shape)).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(labels.tobytes())
    keys = [f"{part}-{number:06d}" for number in range(len(images))]
    return Split(part, keys, labels.tolist(), [Pixels(image) for image in images], digest.hexdigest())
