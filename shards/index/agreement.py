"""What the indexes of one folder must have in common, and what other files there say of the same shards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from shards import info
from shards.classes import CLASSNAMES, differing, read_names
from shards.errors import ShardError, remake
from shards.ignored import printable
from shards.index.index import Index


def between(folder: Path, indexes: Sequence[Index]) -> Iterator[tuple[str, str]]:
    """Yield file and fault of what is in two splits, or of classes that are others in one of them.

    Args:
        folder: where they lie.
        indexes: of its splits.
    """
    for one, other in itertools.combinations(indexes, 2):
        if found := differing(one.classes, other.classes):
            what = f"classes of the {one.split} and the {other.split} split differ: {found}"
            yield f"index-{other.split}.json", f"{what}: say them with: {remake(folder)} --classes FILE"
        owners = {shard.sha256: shard.file for shard in one.shards if shard.samples}
        for shard in other.shards:
            if owner := owners.get(shard.sha256):
                same = "" if owner == shard.file else f", with the same bytes as {printable(owner)},"
                yield (
                    shard.file,
                    f"{printable(shard.file)}{same} is in two splits: what is trained on can't validate",
                )


def beside(folder: Path, indexes: Sequence[Index]) -> Iterator[tuple[str, str]]:
    """Yield file and fault of what other readers would take for the splits or the names of classes.

    Args and yields as `between`.
    """
    anew = f"remove it and make the indexes again with: {remake(folder)}"
    try:
        files = info.named(folder) or {}
        for index in indexes:
            ours = sorted(shard.file for shard in index.shards)
            if index.split in files and sorted(files[index.split]) != ours:
                yield info.NAME, f"names other shards of split {index.split} than its index does: {anew}"
        info.check_lengths(folder, {one.file: one.samples for index in indexes for one in index.shards})
    except ShardError as error:
        yield info.NAME, str(error)
    if not (folder / CLASSNAMES).is_file():
        return
    try:
        names = read_names(folder / CLASSNAMES)
    except ShardError as error:
        yield CLASSNAMES, str(error)
        return
    for index in indexes:
        if found := differing(index.classes, names):
            what = f"isn't what the index of split {index.split} says: {found}"
            yield CLASSNAMES, f"{what}: say them with: {remake(folder)} --classes FILE"
