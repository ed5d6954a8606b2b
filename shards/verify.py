"""Verify that shards are what their index says they are.

    python -m shards.verify data/imagenet              every byte, and every image is decoded
    python -m shards.verify data/imagenet --quick      headers and sizes alone; no image is read
    python -m shards.verify data/imagenet --repair     every byte and image; then index what is whole
    python -m shards.verify data/imagenet --report page.html     ... and a page about the images

One line for each fault: shard, key and byte where known, and what is wrong. Exit code 0 if all is whole, 1 if
something is damaged. --quick finds whatever changes a header, a class or a length, but not a changed image.
An image that can't be decoded, though its bytes are those that were indexed, is a fault of a whole shard.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from shards import command, index, shard
from shards.atomic import replacing
from shards.decode import NoImageError, Picture
from shards.errors import ShardError, remake
from shards.files.folder_entries import matching
from shards.files.regular_file import ChangedError, open_file, unchanging
from shards.ignored import Ignored, literal, printable
from shards.index import Index, absent
from shards.index.agreement import beside, between
from shards.index.same_keys import pairs
from shards.machine.cores import usable_cores
from shards.report import MEASURE, Measures, measure, page
from shards.shard import Contents, Members, Shard, key_at
from shards.split_files import unknown, why_no_index
from shards.workers import run

_MOST = 20  # faults told of one shard


@dataclass(frozen=True)
class Fault:
    """Something that is wrong: in which file, at which sample and byte if that is known.

    Where it `may_pass` the file couldn't be read, or not undisturbed: it may be whole.
    """

    file: str
    what: str
    key: str = ""
    offset: int | None = None
    may_pass: bool = False

    def __str__(self) -> str:
        key = f" key {printable(self.key)}" if self.key else ""
        offset = "" if self.offset is None else f" byte {self.offset}"
        return f"{printable(self.file)}:{key}{offset}{':' if key or offset else ''} {self.what}"


@dataclass(frozen=True)
class Task:
    """One shard to be looked at; `shard` and `rows` are what the index says."""

    folder: Path
    shard: Shard
    rows: Members
    skip: tuple[str, ...] | None
    same_keys: bool
    quick: bool
    is_measured: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / self.shard.file


@dataclass(frozen=True)
class Found:
    """What was found in a folder.

    Attributes:
        faults: what is wrong, by file and byte.
        whole: the contents of the shards that have no faults of their own.
        measures: of these, what `shards.report` needs of each image, if that was asked for.
    """

    faults: list[Fault]
    whole: dict[str, Contents]
    measures: dict[str, Measures]


def verify(folder: Path, *, quick: bool, workers: int) -> tuple[list[Fault], dict[str, Contents]]:
    """Return all faults of the indexed splits of a folder, and the contents of the shards that have none.

    Args and raises as `examine`.
    """
    found = examine(folder, quick=quick, workers=workers)
    return found.faults, found.whole


def examine(folder: Path, *, quick: bool, workers: int, is_measured: bool = False) -> Found:
    """Look at all indexed splits of a folder.

    Args:
        folder: where shards and indexes lie.
        quick: read no images.
        workers: processes that read; 0: this one.
        is_measured: measure the images, too.

    Raises:
        ShardError: there is no index here, or one that is damaged.
        OSError: a file can't be read.
    """
    indexes = [Index.record(folder, split) for split in splits(folder)]
    tasks = [task for one in indexes for task in _tasks(one, quick, is_measured)]
    owners = {task.shard.sha256: task.shard.file for task in tasks if task.shard.samples}
    same_keys = any(one.same_keys > 0 for one in indexes)
    faults = list(_foreign(folder, {task.shard.file for task in tasks}, indexes[0].skip or (), same_keys))
    whole: dict[str, Contents] = {}
    measures: dict[str, Measures] = {}
    images = sum(task.shard.samples for task in tasks)
    with (
        tqdm(total=images, unit=" images", disable=None) as progress,
        closing(run(_look_at, tasks, workers)) as finished,
    ):
        for number, (contents, differences, (unreadable, measured)) in finished:
            name = tasks[number].shard.file
            progress.update(tasks[number].shard.samples)
            faults += unreadable
            if contents is not None and not differences:
                whole[name], measures[name] = contents.under(name), measured
            elif contents is not None and (owner := owners.get(contents.shard.sha256)):
                faults.append(Fault(name, f"holds what {owner} should: swapped, or copied over it"))
            else:
                faults += differences
    for name, what in itertools.chain(between(folder, indexes), beside(folder, indexes)):
        faults.append(Fault(name, what))
    for one in indexes:  # other splits may number theirs from 0 again
        if not one.same_keys:
            there = {shard.file: whole[shard.file] for shard in one.shards if shard.file in whole}
            faults += _twice(folder, there)
    return Found(sorted(faults, key=lambda fault: (fault.file, fault.offset or 0)), whole, measures)


def repair(folder: Path, whole: Mapping[str, Contents]) -> list[str]:
    """Index what is whole; returns the files that must be copied or written again.

    Raises:
        ShardError: nothing of a split is whole.
        OSError: the folder is not writable or full.
    """
    indexes, missing = [], []
    for split in splits(folder):
        before = Index.record(folder, split)
        good = [whole[one.file] for one in before.shards if one.file in whole]
        missing += [one.file for one in before.shards if one.file not in whole]
        if not good:
            raise ShardError(f"{folder}: nothing of split {split} is whole: copy or write it again")
        indexes.append((split, good, before))
    for split, good, before in indexes:
        shards, members = [one.shard for one in good], [one.members for one in good]
        if list(before.shards) != shards:
            ignored = Ignored(before.skip or ())
            for one in good:
                ignored.add(one.ignored)
            index.save(
                folder,
                split,
                shards,
                members,
                classes=before.classes,
                num_classes=before.num_classes,
                ignored=ignored,
                same_keys=before.same_keys,
            )
    index.save_info([Index.record(folder, split) for split, *_ in indexes])
    return missing


def splits(folder: Path) -> list[str]:
    """Return the splits that a folder has an index of. Raises ShardError where there is none."""
    found = sorted(path.stem.removeprefix("index-") for path in matching(folder, "index-*.json"))
    if not found:
        raise ShardError(why_no_index(folder, "train"))
    return found


def _tasks(one: Index, quick: bool, is_measured: bool) -> Iterator[Task]:
    for known, start in zip(one.shards, one.starts, strict=True):
        rows = np.array(one.members[start : start + known.samples])
        yield Task(one.folder, known, rows, one.skip, one.same_keys > 0, quick, is_measured)


def _look_at(task: Task) -> tuple[Contents | None, list[Fault], tuple[list[Fault], Measures]]:
    """Return what a shard holds, if it can be read, what is wrong with it, and with the images in it."""
    name, nothing = task.shard.file, (list[Fault](), np.empty(0, MEASURE))
    if not task.path.is_file():
        return None, [Fault(name, "missing: copy or write this shard again")], nothing
    try:
        with unchanging(task.path):
            contents = shard.scan(task.path, payload=not task.quick, skip=task.skip)
            differences = list(itertools.islice(_differences(task, contents), _MOST))
            return contents, differences, nothing if task.quick or differences else _decoded(task)
    except ShardError as error:
        what = str(error).removeprefix(f"{printable(task.path)}: ")
        may_pass = isinstance(error, ChangedError)
        return None, [Fault(name, what, error.key, error.offset, may_pass)], nothing
    except OSError as error:
        said = (command.explain(error) or str(error)).removeprefix(f"{task.path}: ")
        return None, [Fault(name, f"can't be read: {said}", may_pass=True)], nothing


def _decoded(task: Task) -> tuple[list[Fault], Measures]:
    """Return the images of a shard that can't be decoded, though their bytes are as indexed; and measures."""
    faults, measures = [], np.zeros(len(task.rows) if task.is_measured else 0, MEASURE)
    with open_file(task.path) as file:
        for row, (offset, size, *_) in enumerate(task.rows.tolist()):
            try:
                file.seek(offset)
                picture = Picture(file.read(size))
                if task.is_measured:
                    measures[row] = measure(picture.pixels())
                else:
                    picture.check()
            except NoImageError as error:
                key = key_at(task.path, row, task.skip)
                skip = (*(task.skip or ()), f"{literal(key)}.*")
                again = remake(task.folder, skip, same_keys=task.same_keys)
                remedy = f"replace it, or leave it out with: {again}"
                what = f"not a readable image ({error.reason if size else 'empty'}): {remedy}"
                faults.append(Fault(task.shard.file, what, key, offset))
    return faults, measures


def _differences(task: Task, found: Contents) -> Iterator[Fault]:
    """Yield what a readable shard has otherwise than its index says."""
    name, known = task.shard.file, task.shard
    if found.shard.samples != known.samples:
        yield Fault(name, f"has {found.shard.samples} samples, the index says {known.samples}")
        return
    fields = ("offset", "size", "label") if task.quick else ("offset", "size", "label", "crc32")
    differs = np.any([found.members[field] != task.rows[field] for field in fields], axis=0)
    for row in np.flatnonzero(differs):
        ours, theirs = found.members[row], task.rows[row]
        changed = ", ".join(field for field in fields if ours[field] != theirs[field])
        key = key_at(task.path, int(row), task.skip)
        yield Fault(name, f"not what was indexed ({changed})", key, int(ours["offset"]))
    if not differs.any():
        if found.shard.bytes != known.bytes:
            yield Fault(name, f"has {found.shard.bytes} bytes, the index says {known.bytes}")
        elif not task.quick and found.shard.sha256 != known.sha256:
            yield Fault(name, "other bytes than were indexed, outside of images and classes: a name, say")


def _foreign(folder: Path, known: Collection[str], skip: Sequence[str], same_keys: bool) -> Iterator[Fault]:
    for name, what in unknown(folder, known, skip):
        without = remake(folder, (*skip, literal(name)), same_keys=same_keys)
        remedy = f"remove it, or make the indexes again without it: {without}"
        if name.endswith(".tar") and (folder / name).is_file():
            remedy += f"; or with it: {remake(folder, skip, same_keys=same_keys)}"
        yield Fault(name, f"{what}: {remedy}")


def _twice(folder: Path, whole: Mapping[str, Contents]) -> Iterator[Fault]:
    """Yield the keys that stand in two shards of a split."""
    for one in pairs(whole)[:_MOST]:
        contents = whole[one.file]
        key = key_at(folder / one.file, one.row, contents.ignored.skip)
        what = f"this key stands in {printable(one.other)} too: write the shards again, or take both with: "
        again = remake(folder, contents.ignored.skip, same_keys=True)
        offset = int(contents.members[one.row]["offset"])
        yield Fault(one.file, f"{what}{again}", key, offset)


def _report(folder: Path, found: Found, path: Path) -> None:
    """Write the page about the images of a folder."""
    said = [(fault.file, fault.key, fault.what) for fault in found.faults]
    text = page([Index.record(folder, split) for split in splits(folder)], found.measures, said)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    print(f"written: {path}", file=sys.stderr)


def _check_all_read(faults: Sequence[Fault]) -> None:
    """Refuse to leave out of an index what may be whole. Raises ShardError."""
    if files := {fault.file for fault in faults if fault.may_pass}:
        raise ShardError(
            f"nothing was repaired: {len(files)} shards could not be read, and may be whole: type this again "
            "once they can be, or without these files"
        )


def _check_report(path: Path, quick: bool) -> None:
    """Refuse, before hours of reading, what can't be written. Raises ShardError."""
    if quick:
        raise ShardError("--report: is made of the images, which --quick doesn't read: leave one of them out")
    if path.is_dir() or not path.parent.is_dir():
        raise ShardError(f"--report: {printable(path)}: must be a file, in a folder that is there")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `python -m shards.verify`. Raises ShardError."""
    parser = command.Parser(
        prog="python -m shards.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=command.path, help="where shards and indexes lie")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="read headers and classes, decode no image")
    how.add_argument("--repair", action="store_true", help="then make indexes of the shards that are whole")
    parser.add_argument("--json", action="store_true", help="faults as JSON, a list")
    parser.add_argument(
        "--workers", type=command.positive, default=usable_cores(), help="processes [%(default)s]"
    )
    parser.add_argument(
        "--report",
        type=command.path,
        metavar="FILE",
        help="a page about the images: sizes, numbers, faults, pictures of what looks odd; FILE.html",
    )
    chosen = parser.parse_args(arguments)
    if chosen.report is not None:
        _check_report(chosen.report, chosen.quick)
    found = examine(
        chosen.folder, quick=chosen.quick, workers=chosen.workers, is_measured=chosen.report is not None
    )
    faults, whole = found.faults, found.whole
    if chosen.report is not None:
        _report(chosen.folder, found, chosen.report)
    if chosen.json:
        print(json.dumps([dataclasses.asdict(fault) for fault in faults], indent=1))
    else:
        for fault in faults:
            print(fault)
    if chosen.repair:
        _check_all_read(faults)
        for name in repair(chosen.folder, whole):
            print(f"{name}: not in the index any more: copy or write this shard again", file=sys.stderr)
    if faults:
        raise ShardError(f"{len(faults)} faults in {len({fault.file for fault in faults})} files")
    samples = sum(contents.shard.samples for contents in whole.values())
    how_far = "; no image was read" if chosen.quick else ", each image decoded"
    print(f"whole: {len(whole)} shards, {samples:,} samples{how_far}", file=sys.stderr)
    ignored = Ignored()
    for contents in whole.values():
        ignored.add(contents.ignored)
    nothing = (line for split in splits(chosen.folder) for line in absent(Index.record(chosen.folder, split)))
    for line in (*nothing, *ignored.lines()):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(command.run(main, prefix="shards.verify: ", stopped=command.AGAIN))
