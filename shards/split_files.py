"""The files of a folder of shards: which are which split, what is missing; all else is named, or refused."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shards import info
from shards.errors import ShardError, remake
from shards.ignored import Ignored, printable
from shards.shard import Shard

_PATTERNS = {"train": "*-train-*.tar", "val": "*-val*-*.tar"}
_PATTERN = re.compile(r"[*?\[{]|\.tar$")  # of files, as other programs take them
_OURS = ("index-*.json", "index-*.npy", info.NAME, "write.jsonl")


def files_of_splits(
    folder: Path, patterns: Mapping[str, str], ignored: Ignored | None = None
) -> dict[str, list[str]]:
    """Which of the tar files in a folder, one at least, are which split.

    Args:
        folder: where they lie.
        patterns: split to the glob pattern of its files; empty: from `_info.json`, else from their names.
        ignored: knows what may be left out, and is told what is.

    Raises:
        ShardError: there is no telling, a split has none, two have the same, a file is no shard and no
            pattern names it, or the numbers in the names have a gap.
    """
    ignored = Ignored() if ignored is None else ignored
    tars = list(_tars(folder, ignored))
    known = None if patterns else info.files(folder)
    if known is None:
        files = _by_names(tars, patterns or _PATTERNS)
        files = {split: names for split, names in files.items() if names or split in patterns}
    else:
        files = _with_later_ones(known, tars)
    if not files and tars:
        raise ShardError(
            f"{printable(folder)}: which of its {len(tars)} tar files ({printable(tars[0])}, ...) are which "
            f"split? Say it: {remake(folder)} --split train=GLOB --split val=GLOB"
        )
    seen = _distinct(folder, files)
    for name in tars:
        if name not in seen:
            ignored.refuse(name, "in no split")
    for name in _gaps(seen) if known is None else ():
        if not ignored.names(name):
            ignored.refuse(name, "missing, though the numbers around it are there")
    ignored.check(folder)
    return files


def _distinct(folder: Path, files: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the files of all splits. Raises ShardError where a split has none, or one that stands twice."""
    seen: set[str] = set()
    for split, names in files.items():
        if not names:
            raise ShardError(f"{folder}: split {split} has no tar files: say which with --split {split}=GLOB")
        if twice := seen.intersection(names) or {name for name in names if names.count(name) > 1}:
            raise ShardError(f"{folder}: {min(twice)} is in two splits: what is trained on can't validate")
        seen.update(names)
    return seen


def unknown(folder: Path, known: Iterable[str], skip: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and fault of each file that is neither known nor named by a pattern."""
    ignored = Ignored(skip)
    for name in sorted({*_tars(folder, ignored)} - {*known}):
        yield name, "no index knows of this file"
    yield from ignored.refused


def _tars(folder: Path, ignored: Ignored) -> Iterator[str]:
    """Yield the names of tar files; tells `ignored` of all else."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = entry.name
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _OURS) or ignored.names(name):
            continue
        if entry.is_dir():
            ignored.refuse(name, "a folder")
        elif not entry.is_file():
            ignored.refuse(name, "a link to nothing, or no file")
        elif name.endswith(".tar"):
            yield name
        elif name.lower().endswith(".tar"):
            ignored.refuse(name, "must end in .tar, in small letters")
        elif ".tar." in name.lower() or name.lower().endswith(".tgz"):
            ignored.refuse(name, "compressed, or not whole")
        else:
            ignored.refuse(name, "no tar file")


def _by_names(tars: Iterable[str], patterns: Mapping[str, str]) -> dict[str, list[str]]:
    return {
        split: [name for name in tars if fnmatch.fnmatchcase(name, pattern)]
        for split, pattern in patterns.items()
    }


def _with_later_ones(known: dict[str, list[str]], tars: Sequence[str]) -> dict[str, list[str]]:
    """Add shards that came later, if the names of all others tell their split."""
    by_names = _by_names(tars, _PATTERNS)
    if any(name not in by_names.get(split, ()) for split, names in known.items() for name in names):
        return known  # the rest is in no split
    found = {}
    for split, names in known.items():
        more = names + [name for name in by_names[split] if name not in names]
        found[split] = (
            sorted(more) if names == sorted(names) else more
        )  # one that comes back has its old place
    return found


def _gaps(names: Iterable[str]) -> Iterator[str]:
    """Yield what is missing among files numbered in order: a-0000.tar, a-0002.tar; or a-0000-of-0004.tar."""
    series = defaultdict[tuple[str, str], dict[int, int]](dict)
    for name in names:
        if found := re.fullmatch(r"(.*?)(\d+)((?:-of-\d+)?\.tar)", name):
            series[found[1], found[3]][int(found[2])] = len(found[2])
    for (head, tail), numbers in sorted(series.items()):
        first, last = min(numbers), max(numbers)
        if of := re.match(r"-of-(\d+)", tail):
            first, last = min(first, 1), max(last, int(of[1]) - (first == 0))
        if last - first > 10 * len(numbers) + 10:
            continue  # dates, say
        width = min(numbers.values())
        for number in range(first, last + 1):
            if number not in numbers:
                yield f"{head}{number:0{width}d}{tail}"


def why_no_index(folder: Path, split: str) -> str:
    """Return why a folder has no index of a split, and what makes one."""
    write = f"python -m shards.write KIND SOURCE {folder}"
    if folder.exists() and not folder.is_dir():
        return f"{folder}: a file, must be the folder of the shards"
    if not folder.is_dir() and _PATTERN.search(folder.name):
        return f"{folder}: names files, must be the folder of the shards, say {folder.parent}"
    if not folder.is_dir():
        return f"{folder}: no such folder: write shards there with: {write}"
    tars = len(list(folder.glob("*.tar")))
    if not tars:
        return f"{folder}: holds no shards: write some with: {write}"
    if others := sorted(path.stem.removeprefix("index-") for path in folder.glob("index-*.json")):
        names = ", ".join(others)
        return f"{folder}: has no index of split {split!r}, only of {names}: make it with: {remake(folder)}"
    return f"{folder}: holds {tars} tar files but no index of them: make it with: {remake(folder)}"


def check_sizes(folder: Path, shards: Sequence[Shard]) -> None:
    """Compare the size of each shard with what is on the disk. Raises ShardError."""
    names = {shard.file for shard in shards}
    with os.scandir(folder) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries if entry.name in names}
    for shard in shards:
        if shard.file not in sizes:
            raise ShardError(f"{folder / shard.file}: this shard is missing: copy or write it again")
        if (size := sizes[shard.file]) != shard.bytes:
            raise ShardError(
                f"{folder / shard.file}: has {size} bytes, the index says {shard.bytes}: copy or write this "
                f"shard again; if it is meant to be another one, make the index again with: {remake(folder)}"
            )
        if not os.access(folder / shard.file, os.R_OK):
            raise ShardError(f"{folder / shard.file}: can't be read by you: its owner can allow it, chmod +r")
