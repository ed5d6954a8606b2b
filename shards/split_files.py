"""The files of a folder of shards: which are which split, what is missing; all else is named, or refused.

Shards lie in the folder itself, or in one folder for each split (train/0.tar, test/0.tar), as clip_benchmark
has them. There nshards.txt says how many there are.
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shards import info
from shards.classes import CLASSNAMES
from shards.errors import ShardError, remake
from shards.files.folder_entries import entries, matching
from shards.files.regular_file import read_bytes
from shards.ignored import Ignored, printable
from shards.shard import Shard

_FOLDERS = {"train": ("train",), "val": ("val", "validation", "test")}  # of shards, the first that is there
_PATTERNS = {"train": ("*-train-*.tar",), "val": ("*-val*-*.tar",)}
_COUNT = "nshards.txt"
_FETCHED = (
    "fashion_mnist",
    "cifar10",
)  # sets that shards.write fetches, and folders that configs/ names after them
_PATTERN = re.compile(r"[*?\[{]|\.tar$")  # of files, as other programs take them
_OURS = ("index-*.json", "index-*.npy", info.NAME, "write.jsonl", CLASSNAMES)


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
    known = None if patterns else info.files(folder)
    inside = [pattern for pattern in patterns.values() if "/" in pattern]
    if not patterns:
        inside = [f"{one}/*.tar" for one in _split_folders(folder, ignored)]
        inside += [name for names in (known or {}).values() for name in names]
    tars = list(_tars(folder, ignored, inside))
    usual = _usual(tars)
    if known is None:
        files = _by_names(tars, {split: (pattern,) for split, pattern in patterns.items()} or usual)
        files = {split: names for split, names in files.items() if names or split in patterns}
    else:
        files = _with_later_ones(known, _by_names(tars, usual))
    if not files and not tars:
        raise ShardError(f"{printable(folder)}: --skip leaves out each of its tar files: name fewer")
    if not files:
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
        if twice := seen.intersection(names) or {name for name, count in Counter(names).items() if count > 1}:
            raise ShardError(f"{folder}: {min(twice)} is in two splits: what is trained on can't validate")
        seen.update(names)
    return seen


def unknown(folder: Path, known: Iterable[str], skip: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and fault of each file that is neither known nor named by a pattern.

    Args:
        folder: to look into.
        known: names that belong there.
        skip: patterns of names that are left alone.
    """
    ignored = Ignored(skip)
    inside = [*known, *(f"{one}/*.tar" for names in _FOLDERS.values() for one in names)]
    for name in sorted({*_tars(folder, ignored, inside)} - {*known}):
        yield name, "no index knows of this file"
    yield from ignored.refused


def tars_in(folder: Path) -> list[str]:
    """Return the names of the tar files in a folder and in those of its splits, sorted."""
    within = (folder / one for names in _FOLDERS.values() for one in names)
    found = [path for one in (folder, *within) for path in matching(one, "*.tar")]
    return sorted(str(path.relative_to(folder)) for path in found)


def _split_folders(folder: Path, ignored: Ignored) -> Iterator[str]:
    """Yield the folder of each split; a second one is refused as any other folder."""
    for names in _FOLDERS.values():
        there = (name for name in names if matching(folder / name, "*.tar"))
        yield from itertools.islice((name for name in there if not ignored.is_skipped(name)), 1)


def _tars(folder: Path, ignored: Ignored, inside: Collection[str] = ()) -> Iterator[str]:
    """Yield the names of tar files; tells `ignored` of all else.

    Args:
        folder: where they lie.
        ignored: knows what may be left out, and is told what is.
        inside: names and patterns of files within folders, which are looked into then.
    """
    heads = {name.rpartition("/")[0] for name in inside} - {""}
    for entry in entries(folder):
        name = entry.name
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _OURS):
            continue
        is_head = any(fnmatch.fnmatchcase(name, head) for head in heads) and entry.is_dir()
        if is_head and any(one.name.endswith(".tar") for one in entries(folder / name)):
            yield from _shards_of(folder, name, ignored)
        elif not ignored.names(name) and _is_tar(name, entry, ignored):
            yield name


def _shards_of(folder: Path, split: str, ignored: Ignored) -> Iterator[str]:
    """Yield the tar files in the folder of one split, which nshards.txt may count."""
    inside = entries(folder / split)
    for entry in inside:
        name = f"{split}/{entry.name}"
        if not ignored.names(name) and _is_tar(name, entry, ignored):
            yield name
    if not (count := folder / split / _COUNT).is_file() or ignored.is_skipped(f"{split}/{_COUNT}"):
        return
    said, there = read_bytes(count).strip(), sum(entry.name.endswith(".tar") for entry in inside)
    if said != b"%d" % there:
        ignored.refuse(f"{split}/{_COUNT}", f"says {ascii(said[:20])[1:]} shards, {there} are there")


def _is_tar(name: str, entry: os.DirEntry[str], ignored: Ignored) -> bool:
    """Return whether this is a tar file; else `ignored` is told what it is."""
    if entry.is_dir():
        why = "a folder"
    elif not entry.is_file():
        why = "a link to nothing, or no file"
    elif name.endswith(".tar"):
        return True
    elif name.lower().endswith(".tar"):
        why = "must end in .tar, in small letters"
    elif ".tar." in name.lower() or name.lower().endswith(".tgz"):
        why = "compressed, or not whole"
    else:
        why = "no tar file"
    ignored.refuse(name, why)
    return False


def _usual(tars: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the patterns by which names tell their split."""
    heads = {name.rpartition("/")[0] for name in tars}
    folders = {split: [one for one in names if one in heads][:1] for split, names in _FOLDERS.items()}
    return {split: (*_PATTERNS[split], *(f"{one}/*.tar" for one in folders[split])) for split in _PATTERNS}


def _by_names(tars: Iterable[str], patterns: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {
        split: [name for name in tars if any(_is_meant(name, pattern) for pattern in some)]
        for split, some in patterns.items()
    }


def _is_meant(name: str, pattern: str) -> bool:
    """Return whether a pattern names a file; one without a slash, a file of the folder itself."""
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def _with_later_ones(
    known: dict[str, list[str]], by_names: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Add shards that came later, if the names of all others tell their split."""
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
    """Yield what is missing among files numbered in order: a-0000.tar, a-0002.tar; or a-0000-of-0004.tar.

    They begin with 0 or 1, all of a folder alike, or far above: then a range was chosen.
    """
    series = defaultdict[tuple[str, str], dict[int, int]](dict)
    for name in names:
        if found := re.fullmatch(r"(.*?)(\d+)((?:-of-\d+)?\.tar)", name):
            series[found[1], found[3]][int(found[2])] = len(found[2])
    start = min((min(numbers) for numbers in series.values()), default=0)
    for (head, tail), numbers in sorted(series.items()):
        first, last = min(numbers), max(numbers)
        first = min(first, 1, start) if first <= len(numbers) + 1 else first
        if of := re.match(r"-of-(\d+)", tail):
            first, last = min(first, 1), max(last, int(of[1]) - (first == 0))
        if last - first > 10 * len(numbers) + 10:
            continue  # dates, say
        width = min(numbers.values())
        for number in range(first, last + 1):
            if number not in numbers:
                yield f"{head}{number:0{width}d}{tail}"


def why_no_index(folder: Path, split: str) -> str:
    """Return why a folder has no index of a split, and what makes one. Raises OSError: it can't be listed."""
    kind = f"{folder.name} auto" if folder.name in _FETCHED else "KIND SOURCE"
    write = f"python -m shards.write {kind} {shlex.quote(str(folder))}"
    if folder.exists() and not folder.is_dir():
        return f"{folder}: a file, must be the folder of the shards"
    if not folder.is_dir() and _PATTERN.search(folder.name):
        return f"{folder}: names files, must be the folder of the shards, say {folder.parent}"
    if not folder.is_dir():
        return f"{folder}: no such folder: write shards there with: {write}"
    tars = len(tars_in(folder))
    if not tars:
        return f"{folder}: holds no shards: write some with: {write}"
    if others := sorted(path.stem.removeprefix("index-") for path in matching(folder, "index-*.json")):
        names = ", ".join(others)
        return f"{folder}: has no index of split {split!r}, only of {names}: make it with: {remake(folder)}"
    return f"{folder}: holds {tars} tar files but no index of them: make it with: {remake(folder)}"


def check_sizes(folder: Path, shards: Sequence[Shard]) -> None:
    """Compare the size of each shard with what is on the disk. Raises ShardError."""
    names = {shard.file for shard in shards}
    sizes: dict[str, int] = {}
    for head in {file.rpartition("/")[0] for file in names}:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder / head) as here:
            found = ((f"{head}/{entry.name}" if head else entry.name, entry) for entry in here)
            sizes |= {name: entry.stat().st_size for name, entry in found if name in names}
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
