"""Images a second and core, from the same files: this project's loader against others.

    python bench/loader.py                    photographs that come with scikit-learn
    python bench/loader.py --photos FOLDER    your own, JPEG

Everything is pinned to one core. Parts of the photographs are encoded as JPEG of 500 x 375 pixels, about what
those of ImageNet have, and written as shards and as folders. Every loader cuts out at random, scales to
224 x 224, flips, and gives batches of 64 as uint8; one process decodes, another takes. They come in turns;
ratios are medians of the ratios within a turn. "decode and crop" is this project's without files, processes
or batches: what could be reached at most. Also: the first batch after a resume in the middle of an epoch
against that of a fresh start, and memory. Needs the extra bench: pip install '.[bench]'.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import webdataset  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from dnw.compose import training  # noqa: E402
from dnw.config import Train  # noqa: E402
from dnw.models.torchvision_cpu import torchvision  # noqa: E402
from dnw.training.data import NUMBERS, for_training, training_batches  # noqa: E402
from shards import write  # noqa: E402
from shards.decode import Picture  # noqa: E402
from shards.index import Index  # noqa: E402
from shards.reader import Reader  # noqa: E402
from shards.rng import uniforms  # noqa: E402

SIDE = 224
BATCH = 64
OURS, LIMIT, WEBDATASET = "this project", "decode and crop", "webdataset"
Loader = Callable[[], Iterable[Any]]


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


def loaders(folder: Path, train: Train) -> dict[str, Loader]:
    """Each as its own documentation has it."""
    transforms = torchvision().transforms
    transform = transforms.Compose(
        [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    )
    index = Index.load(folder / "shards", "train")
    files = torchvision().datasets.ImageFolder(str(folder / "photos" / "train"), transform)
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "num_workers": 1}

    def of_webdataset() -> Iterable[Any]:
        urls = [str(path) for path in index.paths]
        samples = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).decode("pil")
        batches = samples.to_tuple("jpg", "cls").map_tuple(transform, int).batched(BATCH)
        loader: Iterable[Any] = webdataset.WebLoader(batches, batch_size=None, num_workers=1)
        return loader

    found: dict[str, Loader] = {
        LIMIT: lambda: limit(index, train),
        OURS: lambda: training_batches(train, index, 0, 1, 0, 10**6),
        WEBDATASET: of_webdataset,
        "torchvision ImageFolder": lambda: DataLoader(files, **options),
    }
    try:
        from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: PLC0415
    except ImportError:
        print("torchdata isn't installed: without it", file=sys.stderr)
    else:
        found["torchdata StatefulDataLoader"] = lambda: StatefulDataLoader(files, **options)
    return found


def limit(index: Index, train: Train) -> Iterator[None]:
    reader = Reader(index)
    data = [reader.read(number).data for number in range(min(index.num_samples, 1000))]
    for start in range(0, 10**9, BATCH):
        for number in range(start, start + BATCH):
            random = uniforms(0, number, n=NUMBERS[train.data.augment])
            for_training(Picture(data[number % len(data)]), train.data, random)
        yield


def per_second(loader: Loader, warm: int, batches: int) -> tuple[float, float]:
    """(images a second, MiB that this process and those it started share among them)."""
    taken = iter(loader())
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
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024


def first_batch_s(train: Train, index: Index, step: int) -> float:
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
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "loader.json")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written(photographs(options.photos), options.images, folder)
        words = ["+exp=imagenet_dnw", f"data.dir={folder / 'shards'}", "data.classes=10", "data.workers=1"]
        train = training([*words, f"batch={BATCH}", f"micro_batch={BATCH}"])
        index = Index.load(folder / "shards", "train")
        contest = loaders(folder, train)
        turns = [
            {name: per_second(one, options.warm, options.batches) for name, one in contest.items()}
            for _ in range(options.turns)
        ]
        middle = options.images // BATCH // 2
        resumes = [
            first_batch_s(train, index, middle) / first_batch_s(train, index, 0) for _ in range(options.turns)
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
