"""Index the tar files of a folder: the command `python -m shards.index`."""

from __future__ import annotations

import argparse
import functools
import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from shards import command, info
from shards.classes import check_names, names_in, read_names
from shards.errors import ShardError
from shards.ignored import Ignored, add_skip, literal, printable
from shards.index.absent import absent
from shards.index.index import Index, save, save_info
from shards.index.same_keys import pairs
from shards.machine.cores import usable_cores
from shards.shard import EXTENSIONS, Contents, key_at, scan
from shards.split_files import files_of_splits, tars_in, why_no_index
from shards.workers import run


def build(
    folder: Path,
    patterns: Mapping[str, str],
    workers: int,
    *,
    ignored: Ignored | None = None,
    classes: Sequence[str] | None = None,
    same_keys: bool = False,
) -> list[Index]:
    """Read the tars of a folder to the last byte and write the index of each split, and `_info.json`.

    Args:
        folder: where the tars lie.
        patterns: split to the glob pattern of its files; empty: from `_info.json`, else from their names.
        workers: processes that read.
        ignored: knows what may be left out, of the folder and of the tars, and is told what is.
        classes: the name of each class; None: as the indexes say that are there of the same shards.
        same_keys: take samples of two shards that have the same key.

    Raises:
        ShardError: no tars, a folder that can't be written to, no telling which split they are, something
            that would be lost, lengths other than those of `_info.json`, names of other classes, two shards
            of the same bytes, a key that stands in two shards of a split, or anything that
            `shards.shard.scan` raises.
        OSError: a file can't be read or written.
    """
    _check_folder(folder, patterns)
    ignored = Ignored() if ignored is None else ignored
    files = files_of_splits(folder, patterns, ignored)
    scanned = _scanned(folder, [name for some in files.values() for name in some], workers, ignored)
    _refuse_copies(folder, scanned)
    repeated = _same_keys(folder, files, scanned, are_taken=same_keys)
    if not patterns:
        info.check_lengths(folder, _lengths_of_all(scanned))
    classes, num_classes = _classes(folder, classes, scanned.values())
    indexes = [
        save(
            folder,
            split,
            [scanned[name].shard for name in some],
            [scanned[name].members for name in some],
            classes=classes,
            num_classes=num_classes,
            ignored=ignored,
            same_keys=repeated[split],
        )
        for split, some in files.items()
    ]
    save_info(indexes)
    return indexes


def _check_folder(folder: Path, patterns: Mapping[str, str]) -> None:
    """Refuse, before anything is read, a folder without tars or that can't be written to."""
    if not tars_in(folder) and not any("/" in pattern for pattern in patterns.values()):
        raise ShardError(why_no_index(folder, "train"))
    if not os.access(folder, os.W_OK):
        raise ShardError(
            f"{printable(folder)}: can't be written to by you, and indexes lie beside the shards: have its "
            "owner make them, or index a folder of your own with links to the shards in it (ln -s)"
        )


def _scanned(folder: Path, names: Sequence[str], workers: int, ignored: Ignored) -> dict[str, Contents]:
    """Return the contents of each tar file, read to the last byte."""
    scanned: dict[str, Contents] = {}
    paths = [folder / name for name in names]
    with (
        tqdm(total=len(paths), unit=" shards", disable=None) as progress,
        closing(run(functools.partial(scan, skip=ignored.skip), paths, workers)) as finished,
    ):
        for number, result in finished:
            scanned[names[number]] = result.under(names[number])
            ignored.add(result.ignored)
            progress.update()
    return scanned


def _classes(
    folder: Path, names: Sequence[str] | None, contents: Collection[Contents]
) -> tuple[Sequence[str] | None, int]:
    """Return the name of each class, if known, and how many there are. Raises as `build`."""
    highest = max(int(found.members["label"].max(initial=-1)) for found in contents)
    if names is None:
        names = names_in(folder, {found.shard.sha256 for found in contents})
    check_names(folder, names, highest)
    return names, 1 + highest if names is None else len(names)


def _refuse_copies(folder: Path, scanned: Mapping[str, Contents]) -> None:
    """Refuse two shards of the same bytes: their samples would count twice, or be validated with, too."""
    owners: dict[str, str] = {}
    for name in sorted(name for name, one in scanned.items() if one.shard.samples):
        owner = owners.setdefault(scanned[name].shard.sha256, name)
        if owner != name:
            raise ShardError(
                f"{printable(folder / name)}: the same bytes as {printable(owner)}: copy the right one "
                f"there, or leave it out with --skip {shlex.quote(literal(name))}"
            )


def _same_keys(
    folder: Path, files: Mapping[str, Sequence[str]], scanned: Mapping[str, Contents], *, are_taken: bool
) -> dict[str, int]:
    """Return how many keys of each split stand in two shards, if they are taken; else refuse any.

    Their samples may be the same, and count twice. Raises ShardError.
    """
    pairs_of = {split: pairs({name: scanned[name] for name in some}) for split, some in files.items()}
    found = [pair for some in pairs_of.values() for pair in some]
    if are_taken or not found:
        return {split: len(some) for split, some in pairs_of.items()}
    first = found[0]
    fields = ["size", "crc32"]
    same = sum(
        scanned[one.file].members[fields][one.row] == scanned[one.other].members[fields][one.other_row]
        for one in found
    )
    key = printable(key_at(folder / first.file, first.row, scanned[first.file].ignored.skip))
    raise ShardError(
        f"{printable(folder)}: {len(found):,} keys stand in two shards, {same:,} of them with the same "
        f"image, say {key!r} in {printable(first.other)} and {printable(first.file)}: give each sample its "
        "own key, or take all of them with --same-keys"
    )


def _lengths_of_all(scanned: Mapping[str, Contents]) -> dict[str, int]:
    """Return how many samples each shard has of which nothing was left out."""
    return {name: one.shard.samples for name, one in scanned.items() if not one.ignored.skipped}


def _split_pattern(text: str) -> tuple[str, str]:
    split, equals, pattern = text.partition("=")
    if not (split.isidentifier() and equals and pattern):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as split=GLOB, say train='*-train-*.tar'")
    if re.search(r"\{.*(,|\.\.).*\}", pattern):
        raise argparse.ArgumentTypeError(f"{text!r}: a GLOB has no braces; write * in place of {{...}}")
    return split, pattern


def _patterns(splits: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the pattern of each split. Raises ShardError where one has two."""
    found: dict[str, str] = {}
    for split, pattern in splits:
        if found.setdefault(split, pattern) != pattern:
            both = f"{found[split]} and {pattern}"
            raise ShardError(
                f"--split {split}: named twice, {both}: write one pattern that fits all its files"
            )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `python -m shards.index`."""
    parser = command.Parser(
        prog="python -m shards.index",
        description="Read the tar files of a folder to the last byte and write the index of each split. "
        "They may come from webdataset's ShardWriter or any other program: a sample is an image "
        f"({', '.join(EXTENSIONS)}) and a class number (cls) under the same key, side by side.",
    )
    parser.add_argument("folder", type=command.path, help="where tar files lie; indexes are put beside them")
    parser.add_argument(
        "--split",
        type=_split_pattern,
        action="append",
        default=[],
        metavar="SPLIT=GLOB",
        help="which files are which split, say train='a-*.tar' [as in _info.json, else as their names say]",
    )
    parser.add_argument(
        "--workers", type=command.positive, default=usable_cores(), help="processes [%(default)s]"
    )
    add_skip(parser)
    parser.add_argument(
        "--same-keys",
        action="store_true",
        help="take samples of two shards that have the same key; they are counted",
    )
    parser.add_argument("--classes", type=command.path, metavar="FILE", help="names of classes, one a line")
    chosen = parser.parse_args(arguments)
    classes = None if chosen.classes is None else read_names(chosen.classes)
    ignored = Ignored(chosen.skip)
    indexes = build(
        chosen.folder,
        _patterns(chosen.split),
        chosen.workers,
        ignored=ignored,
        classes=classes,
        same_keys=chosen.same_keys,
    )
    for index in indexes:
        print(
            f"{index.split}: {index.num_samples:,} samples, {index.num_classes} classes, "
            f"{len(index.shards)} shards, fingerprint {index.fingerprint[:16]}"
        )
        if index.same_keys:
            print(f"{index.split}: {index.same_keys:,} keys stand in two shards: taken, as --same-keys says")
        for line in absent(index):
            print(line)
    for line in ignored.lines():
        print(line)
