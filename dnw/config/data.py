"""Which images, and what is done to them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from dnw.config.user_class import AsText, Options, OrUserClass
from dnw.ranges import STRICT, Count, Deviation, Number, Positive, Size

if TYPE_CHECKING:
    from shards.remote import Store


def _named(value: Any) -> Any:
    if value in ("", None):  # of which Path would make the folder where one is
        raise ValueError("the name of a folder")
    if "://" in str(value):  # which Path would shorten to s3:/
        raise ValueError("a folder of this machine, not an address")
    return value


Folder = Annotated[Path, BeforeValidator(_named)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """Which images, and what is done to them."""

    name: str
    dir: Folder  # where the shards are: not part of what a run is, so not in its signature
    url: str = ""  # where they are if they aren't in `dir`, which then holds their indexes
    cache: str = ""  # where those are put that are read; "": a folder of the user's in /tmp or $TMPDIR
    cache_gb: Size = 50.0  # that they may take there
    image_size: Positive
    eval_size: Positive | None = None  # of images in evaluation, and of what is exported; None: image_size
    classes: Positive
    # or a class of the user's own (docs/extending.md)
    augment: Annotated[Literal["none", "crop_flip", "resized_crop_flip"], OrUserClass, AsText]
    augment_options: Options = dataclasses.field(default_factory=dict)  # what that is built with
    mean: tuple[Number, Number, Number]
    std: tuple[Deviation, Deviation, Deviation]
    window: Count = 0  # shards shuffled together; 0: all of them
    workers: Count = 1  # decoding processes per rank
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.001  # share of images that may be unreadable
    train_fingerprint: str = ""  # set when the run is frozen
    val_fingerprint: str = ""

    @property
    def test_size(self) -> int:
        """Side of the images that a trained network is evaluated on, in pixels."""
        return self.image_size if self.eval_size is None else self.eval_size

    def store(self) -> Store | None:
        """Where shards are fetched from, if they are fetched."""
        if not self.url:
            return None
        from shards.remote import Store  # noqa: PLC0415  (brings numpy, and --help needs none)

        # TMPDIR of a launched worker ends with its attempt
        common = Path(os.environ.get("DNW_TMPDIR") or gettempdir())
        cache = Path(self.cache).expanduser() if self.cache else common / f"dnw-shards-{os.getuid()}"
        return Store(self.url.rstrip("/"), cache, int(self.cache_gb * 1e9))
