"""Write a data set as shards.

    python -m shards.write fashion_mnist auto data/fashion_mnist
    python -m shards.write cifar10 auto data/cifar10
    python -m shards.write imagenet /datasets/imagenet data/imagenet --workers 16
    python -m shards.write imagefolder photos data/photos

The same source, seed and length of shards give the same bytes, on any number of processes and however often
the command was killed and typed again: shards that are whole are kept, the others written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from shards import command, index, rng, shard
from shards.classes import read_names
from shards.errors import ShardError
from shards.ignored import Ignored, add_skip
from shards.journal import Journal, WritePlan, Written, journal
from shards.machine.cores import usable_cores
from shards.order import part
from shards.shard import Members, Shard
from shards.sources import cifar10, fashion_mnist, imagefolder, imagenet_tars
from shards.sources.room import check_room
from shards.sources.source import BadImageError, Picture, Source, file_of, smaller, stamp
from shards.sources.user_source import user_source
from shards.user_class.names import is_user_class, written
from shards.workers import run


@dataclass(frozen=True)
class Task:
    """One shard to be written, or to be kept if the file is what `done` says."""

    path: Path
    split: str
    keys: tuple[str, ...]
    labels: tuple[int, ...]
    pictures: tuple[Picture, ...]
    done: Written | None
    skip_bad: bool


class Result(NamedTuple):
    """A shard that is there now, its rows, and whether it was there before.

    Without rows it isn't there: some of its images are bad, and none may be left out.
    """

    written: Written
    members: Members | None
    kept: bool


def write(
    source: Source, out: Path, *, shard_samples: int, seed: int, workers: int, skip_bad: bool = False
) -> list[index.Index]:
    """Write all splits of a source into a folder, with indexes and `_info.json`.

    Args:
        source: what to write.
        out: the folder; made if it isn't there.
        shard_samples: the most samples of a shard; the shards of a split differ by at most one.
        seed: of the permutation that mixes the classes before samples are put into shards.
        workers: processes.
        skip_bad: leave out images that can't be decoded; they are counted as ignored.

    Raises:
        ShardError: images can't be decoded, once all others are written; or the folder holds something else,
            or is being written; or the disk has less room than it will take.
        OSError: a file can't be read, or the folder is not writable or full.
    """
    out.mkdir(parents=True, exist_ok=True)
    with journal(out, _plan(source, shard_samples, seed)) as records:
        tasks = list(_tasks(source, out, shard_samples, seed, records.done, skip_bad))
        check_room([picture for task in tasks if not _seems_whole(task) for picture in task.pictures], out)
        results = _run(tasks, workers, records)
        _count_bad([one for result in results for one in result.written.bad], source.ignored, skip_bad)
        indexes = []
        for split in source.splits:
            here = [result for task, result in zip(tasks, results, strict=True) if task.split == split]
            shards = [result.written.shard for result in here]
            members = [result.members for result in here if result.members is not None]
            classes = source.classes
            indexes.append(index.save(out, split, shards, members, classes=classes, num_classes=len(classes)))
        index.save_info(indexes)
        records.note(source.ignored)
        return indexes


def _plan(source: Source, shard_samples: int, seed: int) -> WritePlan:
    identities = {f"{name}_identity": split.identity for name, split in source.splits.items()}
    lengths = {f"{name}_samples": len(split.labels) for name, split in source.splits.items()}
    how = {"seed": seed, "shard_samples": shard_samples, **source.changed}
    return {"name": source.name, **how, **lengths, **identities}


def _tasks(
    source: Source,
    out: Path,
    shard_samples: int,
    seed: int,
    done: Mapping[str, Written],
    skip_bad: bool,
) -> Iterator[Task]:
    for number, (name, split) in enumerate(source.splits.items()):
        order = rng.permutation(len(split.labels), seed, number).tolist()
        count = -(-len(order) // shard_samples)
        for place in range(count):
            chosen = order[slice(*part(len(order), place, count))]
            file = f"{source.name}-{split.part}-{place:04d}.tar"
            yield Task(
                out / file,
                name,
                tuple(split.keys[sample] for sample in chosen),
                tuple(split.labels[sample] for sample in chosen),
                tuple(split.pictures[sample] for sample in chosen),
                done.get(file),
                skip_bad,
            )


def _run(tasks: Sequence[Task], workers: int, records: Journal) -> list[Result]:
    results: dict[int, Result] = {}
    images = sum(len(task.keys) for task in tasks)
    with (
        tqdm(total=images, unit=" images", disable=None) as progress,
        closing(run(_write_or_keep, tasks, workers)) as finished,
    ):
        for number, result in finished:
            results[number] = result
            if result.members is not None and not result.kept:
                records.add(result.written)
            progress.update(len(tasks[number].keys))
    if kept := sum(result.kept for result in results.values()):
        print(f"{kept} of {len(tasks)} shards were there already, whole")
    return [results[number] for number in range(len(tasks))]


def _write_or_keep(task: Task) -> Result:
    if (there := _whole(task)) is not None:
        return Result(*there, kept=True)
    sources = stamp(task.pictures)  # before they are read: what changes meanwhile is written again next time
    bad: list[str] = []
    try:
        made, members = shard.write(task.path, _entries(task, bad))
    except BadImageError:
        return Result(Written(Shard(task.path.name, 0, 0, ""), bad=tuple(bad)), None, kept=False)
    return Result(Written(made, sources, tuple(bad)), members, kept=False)


def _entries(task: Task, bad: list[str]) -> Iterator[shard.Entry]:
    """Yield the samples of a shard; adds to `bad` the images that can't be read.

    Raises:
        BadImageError: there are such, and none may be left out.
    """
    for key, label, picture in zip(task.keys, task.labels, task.pictures, strict=True):
        try:
            extension, data = picture.encode()
        except BadImageError as error:
            bad.append(str(error))
        else:
            yield shard.Entry(key, extension, data, label)
    if bad and not task.skip_bad:
        raise BadImageError(bad[0])


def _count_bad(bad: Sequence[str], ignored: Ignored, skip_bad: bool) -> None:
    """Count the images that were left out. Raises ShardError where none may be, once each is named."""
    if skip_bad:
        for one in bad:
            ignored.count("--skip-bad", one)
    elif len(bad) == 1:
        raise ShardError(f"{bad[0]}: replace it, or leave it out with --skip-bad")
    elif bad:
        print("\n".join(bad), file=sys.stderr)
        raise ShardError(
            f"{len(bad):,} images can't be read: replace them, or leave them out with --skip-bad"
        )


def _seems_whole(task: Task) -> bool:
    done = task.done
    return done is not None and task.path.is_file() and task.path.stat().st_size == done.shard.bytes


def _whole(task: Task) -> tuple[Written, Members] | None:
    done = task.done
    if done is None or not _seems_whole(task):
        return None
    if (done.bad and not task.skip_bad) or (done.sources and done.sources != stamp(task.pictures)):
        return None
    try:
        there = shard.scan(task.path)
    except ShardError:
        return None  # damaged since: it is written again
    return (done, there.members) if there.shard == done.shard else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `python -m shards.write`.

    Raises:
        ShardError: the source or the folder can't be used, or a setting that goes with another is alone.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if words and (instead := written(words[0])):
        raise ShardError(f"{words[0]}: must be {instead}")
    chosen = _parser(words[0] if words else "").parse_args(words)
    if chosen.max_pixels is not None and chosen.longest is None:
        raise ShardError(
            "--max-pixels: readers take no more pixels than before: scale down with --longest N, too"
        )
    if chosen.quality is not None and chosen.longest is None:
        raise ShardError(
            "--quality: is of the images that --longest N scales: give that, too, or leave it out"
        )
    if chosen.out.is_file():
        raise ShardError(f"{chosen.out}: a file, must be a folder to write into")
    source: Source = chosen.open(chosen)
    if chosen.longest is not None:
        source = smaller(source, chosen.longest, chosen.quality or _QUALITY, chosen.max_pixels)
    _refuse_within(source, chosen.out)
    sizes = " + ".join(f"{len(split.labels):,} {name}" for name, split in source.splits.items())
    print(f"{source.name}: {sizes} images, {len(source.classes)} classes, from {source.origin}")
    indexes = write(
        source,
        chosen.out,
        shard_samples=chosen.shard_samples,
        seed=chosen.seed,
        workers=chosen.workers,
        skip_bad=chosen.skip_bad,
    )
    for made in indexes:
        print(f"{made.split}: {len(made.shards)} shards, fingerprint {made.fingerprint[:16]}")
    for line in (*(line for made in indexes for line in index.absent(made)), *source.ignored.lines()):
        print(line)
    print(f"done: {chosen.out}")


def _refuse_within(source: Source, out: Path) -> None:
    """Refuse to write among the images: what is written there would be in the way of the same command."""
    files = {file_of(split.pictures[0]) for split in source.splits.values()}
    folder = Path(source.origin).resolve()
    if not any(isinstance(file, Path) and file.suffix != ".tar" for file in files):
        return
    within = out.resolve()
    if within == folder or (
        folder in within.parents and not source.ignored.is_skipped(str(within.relative_to(folder)))
    ):
        raise ShardError(f"{out}: lies within {source.origin}, all of which is read: write beside it")


def _percent(text: str) -> int:
    if (number := command.positive(text)) > 100:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 100 (got {text})")
    return number


_QUALITY = 90  # of JPEGs that are scaled


class _Kind(NamedTuple):
    open: Callable[[argparse.Namespace], Source]
    shard_samples: int
    what: str
    source: str


# 1,252 photographs of ImageNet are about 140 MB, and make 1,024 shards
_KINDS = {
    "imagefolder": _Kind(
        lambda chosen: imagefolder.imagefolder(Path(chosen.source), Ignored(chosen.skip), _names(chosen)),
        1252,
        "images in folders named by class",
        "SOURCE/train/<class>/*.jpg and SOURCE/val/<class>/*.jpg, at any depth; files are copied as they are",
    ),
    "imagenet": _Kind(
        lambda chosen: _imagenet(Path(chosen.source), Ignored(chosen.skip), _names(chosen)),
        1252,
        "ImageNet-1k, from its archives or in the same layout, under its usual shard names",
        "SOURCE/train/n01440764/*.JPEG ... and SOURCE/val/n01440764/*.JPEG ..., or as downloaded: SOURCE/"
        f"{imagenet_tars.TRAIN}, {imagenet_tars.VAL}, development kit; files are copied as they are",
    ),
    "cifar10": _Kind(
        lambda chosen: cifar10.cifar10(chosen.source),
        2500,
        "CIFAR-10, as PNG",
        "the folder cifar-10-batches-py, or auto: it is downloaded (170 MB)",
    ),
    "fashion_mnist": _Kind(
        lambda chosen: fashion_mnist.fashion_mnist(chosen.source, chosen.size),
        2500,
        "Fashion-MNIST, as PNG",
        "the folder of the four *-ubyte[.gz] files, or auto: a download, or else Debian's package",
    ),
}


def _names(chosen: argparse.Namespace) -> tuple[str, ...] | None:
    return None if chosen.classes is None else read_names(chosen.classes)


def _imagenet(source: Path, ignored: Ignored, classes: Sequence[str] | None) -> Source:
    archives = [source / name for name in (imagenet_tars.TRAIN, imagenet_tars.VAL)]
    if any(path.is_file() for path in archives):
        return imagenet_tars.imagenet_tars(source, ignored)
    return imagefolder.imagenet(source, ignored, classes)


def _of_the_user(kind: str) -> dict[str, _Kind]:
    if not is_user_class(kind):
        return {}
    of = "what the class is built with: a folder, say"
    return {kind: _Kind(lambda chosen: user_source(kind, chosen.source), 2500, f"the images of {kind}", of)}


def _parser(kind: str = "") -> command.Parser:
    parser = command.Parser(
        prog="python -m shards.write",
        description="Write a data set as shards: plain tar files that webdataset, timm and this project "
        "read, with an index beside them. Typed again after any interruption, the command goes on.",
        epilog="example: python -m shards.write fashion_mnist auto data/fashion_mnist",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, kind_ in (_KINDS | _of_the_user(kind)).items():
        one = kinds.add_parser(name, help=kind_.what, description=f"Write shards of {kind_.what}.")
        one.set_defaults(open=kind_.open, skip_bad=False, max_pixels=None)
        one.add_argument("source", metavar="SOURCE", type=command.name, help=kind_.source)
        one.add_argument("out", metavar="OUT", type=command.path, help="a folder; made if need be")
        one.add_argument(
            "--shard-samples",
            type=command.positive,
            default=kind_.shard_samples,
            metavar="N",
            help="the most images of a shard [%(default)s]",
        )
        one.add_argument(
            "--workers",
            type=command.positive,
            default=usable_cores(),
            metavar="N",
            help="processes [%(default)s]",
        )
        one.add_argument(
            "--seed", type=command.count, default=0, metavar="N", help="mixes classes [%(default)s]"
        )
        one.add_argument(
            "--longest",
            type=command.positive,
            metavar="N",
            help="scale images down to this longest side, as JPEG, say 512 [as they are]",
        )
        one.add_argument(
            "--quality", type=_percent, metavar="N", help=f"of those JPEGs, 1 to 100 [{_QUALITY}]"
        )
        if name in {"imagefolder", "imagenet"}:
            _of_files(one)
        if name == "fashion_mnist":
            one.add_argument(
                "--size",
                type=command.positive,
                default=32,
                metavar="N",
                help="rows and columns of an image; 28 as photographed, above that padded [%(default)s]",
            )
    return parser


def _of_files(parser: command.Parser) -> None:
    add_skip(parser)
    parser.add_argument(
        "--max-pixels",
        type=command.positive,
        metavar="N",
        help="with --longest, take images of more pixels than are safe to take from strangers, up to N",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out images that can't be read; counted"
    )
    parser.add_argument(
        "--classes",
        type=command.path,
        metavar="FILE",
        help="the class folders in the order of their numbers, one a line [sorted by name]",
    )


if __name__ == "__main__":
    sys.exit(command.run(main, prefix="shards.write: ", stopped=command.AGAIN))
