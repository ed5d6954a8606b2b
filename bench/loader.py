"""Images a second and core, from the same files: this project's loader against others.

    python bench/loader.py                    photographs that come with scikit-learn
    python bench/loader.py --photos FOLDER    your own, JPEG
    python bench/loader.py --cores 2          two cores, and two processes or threads that decode

Everything is pinned to one core, or to so many. Parts of the photographs are encoded as JPEG of 500 x 375
pixels, about what those of ImageNet have, and written as shards, as folders, and as chunks of LitData. Every
loader cuts out at random, scales to 224 x 224, flips, and gives batches of 64 as uint8; one process for each
core decodes (of SPDL: a thread), another takes. They come in turns, each in a process of its own; ratios are
medians of the ratios within a turn. "decode and crop" is this project's on one core without files, processes
or batches: what could be reached at most. Also: the first batch after a resume in the middle of an epoch
against that of a fresh start, and memory. Needs the extra bench, pip install '.[bench]', and for SPDL the
libraries of FFmpeg 4 to 8, apt-get install ffmpeg.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch.utils.data import DataLoader, default_collate  # noqa: E402

from dnw.augmentation.crop import NUMBERS, for_training  # noqa: E402
from dnw.compose import training  # noqa: E402
from dnw.config import Train  # noqa: E402
from dnw.models.torchvision_cpu import torchvision  # noqa: E402
from dnw.training.data import training_batches  # noqa: E402
from shards import write  # noqa: E402
from shards.decode import Picture  # noqa: E402
from shards.index import Index  # noqa: E402
from shards.reader import Reader  # noqa: E402
from shards.rng import uniforms  # noqa: E402

SIDE = 224
BATCH = 64
OURS, LIMIT, LITDATA = "this project", "decode and crop", "LitData"
Result = TypeVar("Result")


def photographs(folder: Path | None) -> list[Image.Image]:
    if folder is not None:
        return [Image.open(path).convert("RGB") for path in sorted(folder.rglob("*.jp*g"))]
    from sklearn.datasets import load_sample_images  # noqa: PLC0415

    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


def written(images: list[Image.Image], count: int, folder: Path) -> None:
    """Folders of JPEGs, and shards of them."""
    draw = np.random.default_rng(0)
    for number in range(count):
        image = images[number % len(images)]
        share = draw.uniform(0.5, 1)
        width = int(share * min(image.width, image.height * 4 / 3))
        height = width * 3 // 4
        left, top = (int(draw.integers(0, room + 1)) for room in (image.width - width, image.height - height))
        part = image.crop((left, top, left + width, top + height)).resize(
            (500, 375), Image.Resampling.LANCZOS
        )
        for split in ("train", "val") if number < 20 else ("train",):
            place = folder / "photos" / split / f"class{number % 10}"
            place.mkdir(parents=True, exist_ok=True)
            part.save(place / f"{number:05d}.jpg", quality=90)
    write.main(["imagefolder", str(folder / "photos"), str(folder / "shards"), "--shard-samples=500"])


@dataclass(frozen=True)
class Images:
    """The same images, as files in folders and as shards, and what each loader is given besides.

    Attributes:
        folder: of photos/train/<class>/*.jpg and shards/.
        cores: that all processes of a loader share.
    """

    folder: Path
    cores: int

    def train(self) -> Train:
        words = ["+exp=imagenet_dnw", f"data.dir={self.folder / 'shards'}", "data.classes=10"]
        return training([*words, f"data.workers={self.cores}", f"batch={BATCH}", f"micro_batch={BATCH}"])

    def index(self) -> Index:
        return Index.load(self.folder / "shards", "train")

    def files(self) -> Any:
        transforms = torchvision().transforms
        cut = [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()]
        transform = transforms.Compose([*cut, transforms.PILToTensor()])
        return torchvision().datasets.ImageFolder(str(self.folder / "photos" / "train"), transform)


def of_ours(images: Images) -> Iterable[Any]:
    return training_batches(images.train(), images.index(), 0, 1, 0, 10**6)


def of_webdataset(images: Images) -> Iterable[Any]:
    import webdataset  # noqa: PLC0415

    urls, transform = [str(path) for path in images.index().paths], images.files().transform
    samples = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).decode("pil")
    batches = samples.to_tuple("jpg", "cls").map_tuple(transform, int).batched(BATCH)
    loader: Iterable[Any] = webdataset.WebLoader(batches, batch_size=None, num_workers=images.cores)
    return loader


def of_torchvision(images: Images) -> Iterable[Any]:
    return DataLoader(images.files(), BATCH, shuffle=True, num_workers=images.cores)


def of_torchdata(images: Images) -> Iterable[Any]:
    from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: PLC0415

    loader: Iterable[Any] = StatefulDataLoader(images.files(), BATCH, shuffle=True, num_workers=images.cores)
    return loader


def as_stored(sample: tuple[str, int]) -> dict[str, Any]:
    return {"image": Path(sample[0]).read_bytes(), "label": sample[1]}


def write_chunks(images: Images) -> None:
    """Write them as LitData wants them, for which it changes how processes start."""
    import litdata  # noqa: PLC0415

    out = str(images.folder / "litdata")
    litdata.optimize(as_stored, images.files().samples, out, chunk_bytes="64MB", num_workers=1, verbose=False)


def of_litdata(images: Images) -> Iterable[Any]:
    import litdata  # noqa: PLC0415

    files, chunks = images.files(), images.folder / "litdata"

    def decoded(item: dict[str, Any]) -> tuple[Any, int]:
        with Image.open(io.BytesIO(item["image"])) as image:
            return files.transform(image.convert("RGB")), item["label"]

    dataset = litdata.StreamingDataset(str(chunks), shuffle=True, transform=decoded)
    loader: Iterable[Any] = litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=images.cores)
    return loader


def of_spdl(images: Images) -> Iterator[Any]:
    """Threads; FFmpeg decodes, cuts out and scales."""
    import spdl.io  # noqa: PLC0415
    from spdl.pipeline import PipelineBuilder  # noqa: PLC0415

    files = images.files()
    crop = files.transform.transforms[0]

    def order() -> Iterator[int]:
        while True:
            yield from np.random.default_rng().permutation(len(files)).tolist()

    def decoded(number: int) -> tuple[Any, int]:
        path, label = files.samples[number]
        packets = spdl.io.demux_image(path)
        size = torch.empty(1, packets.height, packets.width, device="meta")
        top, left, height, width = crop.get_params(size, crop.scale, crop.ratio)
        flip = "hflip," if torch.rand(()) < 0.5 else ""
        cut = f"crop={width}:{height}:{left}:{top},scale={SIDE}:{SIDE}:flags=bilinear,{flip}format=rgb24"
        frames = spdl.io.decode_packets(packets, filter_desc=cut)
        return spdl.io.to_torch(spdl.io.convert_frames(frames)), label

    try:
        decoded(0)  # the libraries are looked for now; a pipeline leaves out what fails, for ever
    except RuntimeError as error:
        raise ImportError("SPDL finds no libraries of FFmpeg: apt-get install ffmpeg") from error
    builder: Any = PipelineBuilder()
    builder = builder.add_source(order()).pipe(decoded, concurrency=images.cores)
    batches = builder.aggregate(BATCH).pipe(default_collate).add_sink(2).build(num_threads=images.cores)
    with batches.auto_stop():
        yield from batches


def limit(images: Images) -> Iterator[None]:
    train, reader = images.train(), Reader(images.index())
    data = [reader.read(number).data for number in range(min(reader.index.num_samples, 1000))]
    for start in range(0, 10**9, BATCH):
        for number in range(start, start + BATCH):
            random = uniforms(0, number, n=NUMBERS[train.data.augment])
            for_training(Picture(data[number % len(data)]), train.data, SIDE, random)
        yield


# Each as its own documentation has it.
LOADERS: dict[str, Callable[[Images], Iterable[Any]]] = {
    LIMIT: limit,
    OURS: of_ours,
    "webdataset": of_webdataset,
    "torchvision ImageFolder": of_torchvision,
    "torchdata StatefulDataLoader": of_torchdata,
    LITDATA: of_litdata,
    "SPDL": of_spdl,
}


def alone(function: Callable[..., Result], *given: Any) -> Result:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as process:
        return process.submit(function, *given).result()


def is_there(name: str, images: Images) -> bool:
    """Whether all that a loader needs is installed; it is told if not."""
    try:
        if name == LITDATA:
            alone(write_chunks, images)
        alone(per_second, name, images, 0, 1)
    except ImportError as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return False
    return True


def per_second(name: str, images: Images, warm: int, batches: int) -> tuple[float, float]:
    """(images a second, MiB that this process and those it started share among them)."""
    torch.set_num_threads(1)
    taken = iter(LOADERS[name](images))
    for _ in range(warm):
        next(taken)
    began = time.perf_counter()
    for _ in range(batches):
        next(taken)
    seconds = time.perf_counter() - began
    return batches * BATCH / seconds, memory_mib()


def memory_mib() -> float:
    family = [os.getpid()]
    for task in Path("/proc/self/task").iterdir():
        family += [int(pid) for pid in (task / "children").read_text().split()]
    total = 0
    for pid in family:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # one has ended meanwhile
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024


def first_batch_s(images: Images, step: int) -> float:
    torch.set_num_threads(1)
    train, index = images.train(), images.index()
    began = time.perf_counter()
    next(iter(training_batches(train, index, 0, 1, step, 10**6)))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs, 500 pixels wide at least")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=24, help="in a turn")
    parser.add_argument("--warm", type=int, default=8, help="before them: processes start, queues fill")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--loaders", nargs="+", choices=LOADERS, default=list(LOADERS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "loader.json")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    with tempfile.TemporaryDirectory() as folder:
        images = Images(Path(folder), options.cores)
        written(photographs(options.photos), options.images, images.folder)
        wanted = dict.fromkeys((LIMIT, OURS, *options.loaders))
        names = [name for name in wanted if is_there(name, images)]
        turns = [
            {name: alone(per_second, name, images, options.warm, options.batches) for name in names}
            for _ in range(options.turns)
        ]
        middle = options.images // BATCH // 2
        resumes = [
            alone(first_batch_s, images, middle) / alone(first_batch_s, images, 0)
            for _ in range(options.turns)
        ]
    show(turns, resumes, options.out)


def show(turns: list[dict[str, tuple[float, float]]], resumes: list[float], out: Path) -> None:
    rows = Table("loader", "images/s, median", f"{OURS} is so many times as fast", "MiB")
    record: dict[str, Any] = {"first batch, resumed over fresh": statistics.median(resumes)}
    for name in turns[0]:
        speed = statistics.median(turn[name][0] for turn in turns)
        ratio = statistics.median(turn[OURS][0] / turn[name][0] for turn in turns)
        memory = statistics.median(turn[name][1] for turn in turns)
        rows.add_row(name, f"{speed:.0f}", f"{ratio:.2f}", f"{memory:.0f}")
        record[name] = {"images_per_second": speed, "ours_is_faster": ratio, "mib": memory}
    console = Console()
    console.print(rows)
    console.print(
        f"first batch after a resume: {record['first batch, resumed over fresh']:.2f} of a fresh start's"
    )
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
