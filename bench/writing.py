"""Images a second that shards.write and shards.verify reach, against what decoding alone allows.

    python bench/writing.py                    photographs that come with scikit-learn
    python bench/writing.py --photos FOLDER    your own, JPEG
    python bench/writing.py --longest          also what scales them

The images are those of bench/loader.py, JPEG of 500 x 375 pixels, in folders of the page cache. "decoding" is
each image decoded to all its pixels on one core, from memory; writer and verify decode all coefficients, too,
but fewer pixels. "decoding, 2 cores" is two processes that read and decode, and do nothing else; as with the
others on two cores, the start of the processes, half a second, is counted. With --longest, "decoded twice" is
how it would be with the check that the images that aren't scaled get. All come in turns; ratios are medians
of the ratios within a turn. Needs the extra bench: pip install '.[bench]'.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from shards.decode import Picture  # noqa: E402
from shards.sources.imagefolder import imagefolder  # noqa: E402
from shards.sources.source import ImageFile, Smaller, Source, smaller  # noqa: E402
from shards.verify import verify  # noqa: E402
from shards.workers import run  # noqa: E402
from shards.write import write  # noqa: E402

LONGEST, QUALITY = 256, 90
PARTS = 16  # in which two processes decode
DECODING, TWICE, ONCE = "decoding", "--longest 256, decoded twice", "--longest 256, decoded once"
# what each is compared with, which is so many times as fast on one core
AGAINST = {
    DECODING: (DECODING, 1),
    "decoding, 2 cores": (DECODING, 2),
    "write, 1 core": (DECODING, 1),
    "write, 2 cores": (DECODING, 2),
    "verify, 1 core": (DECODING, 1),
    "verify, 2 cores": (DECODING, 2),
}
SCALING = {TWICE: (ONCE, 1), ONCE: (ONCE, 1), "write --longest 256, 1 core": (ONCE, 1)}


def pictures(source: Source) -> list[ImageFile]:
    found = [picture for split in source.splits.values() for picture in split.pictures]
    return [picture for picture in found if isinstance(picture, ImageFile)]


def decode(images: Sequence[ImageFile]) -> None:
    for image in images:
        Picture(image.stored().data).pixels()


def works(source: Source, folder: Path) -> dict[str, Callable[[], object]]:
    """Each does something with all images."""
    images, small = pictures(source), smaller(source, LONGEST, QUALITY)
    stored = [image.stored() for image in images]

    def decoding() -> None:
        for one in stored:
            Picture(one.data).pixels()

    def once() -> None:
        for image in images:
            Smaller(image, LONGEST, QUALITY).encode()

    def twice() -> None:
        for image in images:
            image.encode()
            Smaller(image, LONGEST, QUALITY).encode()

    new = itertools.count()

    def writing(what: Source, workers: int) -> Callable[[], object]:
        return lambda: write(what, folder / f"new{next(new)}", shard_samples=500, seed=0, workers=workers)

    def verifying(workers: int) -> Callable[[], object]:
        return lambda: verify(folder / "shards", quick=False, workers=workers)

    return {
        DECODING: decoding,
        "decoding, 2 cores": lambda: list(run(decode, [images[part::PARTS] for part in range(PARTS)], 2)),
        "write, 1 core": writing(source, 0),
        "write, 2 cores": writing(source, 2),
        "verify, 1 core": verifying(0),
        "verify, 2 cores": verifying(2),
        TWICE: twice,
        ONCE: once,
        "write --longest 256, 1 core": writing(small, 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs, 500 pixels wide at least")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--longest", action="store_true", help="also what scales images, which is slow")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "writing.json")
    options = parser.parse_args()
    from bench.loader import photographs, written  # noqa: PLC0415 - processes that write import no torch

    os.environ["TQDM_DISABLE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.redirect_stdout(io.StringIO()):
            written(photographs(options.photos), options.images, folder)
        source = imagefolder(folder / "photos")
        count, turns = len(pictures(source)), list[dict[str, float]]()
        against = AGAINST | SCALING if options.longest else AGAINST
        for _ in range(options.turns):
            turns.append({})
            all_works = works(source, folder)
            for what in against:
                began_s = time.perf_counter()
                all_works[what]()
                turns[-1][what] = count / (time.perf_counter() - began_s)
                for new in folder.glob("new*"):
                    shutil.rmtree(new)
    show(turns, against, options.out)


def show(turns: list[dict[str, float]], against: Mapping[str, tuple[str, int]], out: Path) -> None:
    rows, record = Table("what", "images/s, median", "share of", "%"), {}
    for what, (other, cores) in against.items():
        speed = statistics.median(turn[what] for turn in turns)
        share = statistics.median(turn[what] / turn[other] / cores for turn in turns)
        rows.add_row(what, f"{speed:.0f}", f"{other}{f' x {cores}' if cores > 1 else ''}", f"{share:.0%}")
        record[what] = {"images_per_second": speed, "share": share}
    Console().print(rows)
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
