"""A trained network as one file that needs nothing else: compact form, and what feeds it and reads it.

A safetensors file. Its metadata has one entry, "dnw", in JSON: version of the format, digest, card,
structure. The digest is SHA-256 over the file with 64 zeros in the digest's place, so whatever is changed
shows. The structure is the dataclasses of dnw/compact/form.py, each tensor named by its place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.numpy

from dnw.compact.check import check
from dnw.compact.form import Arrays, Compact
from dnw.compact.parts import put_together, taken_apart
from shards.atomic import replacing
from shards.errors import ExpectedError
from shards.files.regular_file import read_bytes

FORMAT = 1
_ENTRY = "dnw"
_NETWORK = "network"
_NO_DIGEST = "0" * 64
_LENGTH = 8  # bytes at the head of a safetensors file: how long its header is


class ModelFileError(ExpectedError):
    """A file that isn't a whole network of this format."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """Where a network comes from, what images it takes, and what its classes are called."""

    run: str  # experiment and signature
    step: int
    image_size: int
    resize: int | None  # scale the shorter side to so many pixels, bilinear, then cut the centre out
    mean: tuple[float, float, float]  # of colours from 0 to 1
    std: tuple[float, float, float]
    classes: int
    class_names: tuple[str, ...] | None
    stored: int | None = None  # images of so many pixels to both sides are scaled whole, not by `resize`

    def __post_init__(self) -> None:
        """Refuse names of more or fewer classes than there are. Raises ValueError."""
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise ValueError(f"{len(self.class_names)} names of {self.classes} classes")


def write(path: Path, network: Compact, card: Card) -> None:
    """Write the file, whole or not at all. Raises OSError if that can't be done.

    Args:
        path: of the file.
        network: that it holds.
        card: that describes it.
    """
    content = encode(network, card)
    with replacing(path) as file:
        file.write(content)


def read(path: Path) -> tuple[Compact[Arrays], Card]:
    """Read the file. Raises ModelFileError if it isn't there, is damaged, or is none of this format."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read ({error.strerror})") from None
    try:
        return decode(content)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None


def encode(network: Compact, card: Card) -> bytes:
    """Return the bytes of the file, a function of the network and its card alone."""
    arrays: dict[str, Arrays] = {}
    entry = {
        "format": FORMAT,
        "digest": _NO_DIGEST,
        "card": dataclasses.asdict(card),
        _NETWORK: taken_apart(network.arrays(), _NETWORK, arrays),
    }
    content = safetensors.numpy.save(arrays, {_ENTRY: json.dumps(entry)})
    return content.replace(_NO_DIGEST.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def decode(content: bytes) -> tuple[Compact[Arrays], Card]:
    """Return what `encode` made bytes of. Raises ModelFileError for anything else."""
    entry = _entry(content)
    if entry.get("format") != FORMAT:
        raise ModelFileError(
            f"has format {entry.get('format')!r}, this program reads {FORMAT}: "
            "export the run again with python -m dnw.export"
        )
    digest = str(entry.get("digest"))
    found = hashlib.sha256(content.replace(digest.encode(), _NO_DIGEST.encode(), 1)).hexdigest()
    if found != digest:
        raise ModelFileError(
            f"damaged: its digest is {found[:16]}, it says {digest[:16]}: copy it again, or export the run "
            "again"
        )
    try:
        network = put_together(Compact, entry[_NETWORK], _NETWORK, safetensors.numpy.load(content))
        check(network)
        return network, put_together(Card, entry["card"], "card", {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"written by another program or changed on purpose ({error})") from None


def _entry(content: bytes) -> dict[str, Any]:
    stop = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    try:
        entry = json.loads(json.loads(content[_LENGTH:stop])["__metadata__"][_ENTRY])
    except (ValueError, KeyError, TypeError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise ModelFileError("no file of python -m dnw.export, or damaged at its head")
    return entry
