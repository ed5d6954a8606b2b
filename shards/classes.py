"""The names of classes, in the order of their numbers."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from shards.errors import ShardError
from shards.files.folder_entries import matching
from shards.files.regular_file import read_bytes, read_json
from shards.ignored import printable

CLASSNAMES = "classnames.txt"  # where clip_benchmark has them, one a line, beside the folders of its splits
Names = tuple[str, ...] | None  # in the order of their numbers; None where nobody has said them


def read_names(path: Path) -> tuple[str, ...]:
    """Read the names of classes from a file, one a line, or a list in JSON; the n-th is class n, from 0 on.

    Raises:
        ShardError: it holds none, or a name twice.
        OSError: it can't be read.
    """
    if path.suffix == ".json":
        names = _listed(path)
    else:
        names = tuple(
            read_bytes(path).removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").splitlines()
        )
    if not names or not all(names):
        raise ShardError(f"{path}: an empty line, or none at all: name one class a line")
    refuse_twice(path, names, "classes")
    return names


def _listed(path: Path) -> tuple[str, ...]:
    try:
        names = read_json(path)
    except ValueError as error:
        raise ShardError(f"{path}: no list of names in JSON ({error})") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ShardError(f"{path}: must be a list of names in JSON")
    return tuple(names)


def names_in(folder: Path, digests: Collection[str]) -> tuple[str, ...] | None:
    """Return the names that the indexes of these shards hold, or classnames.txt; None where nobody says.

    Args:
        folder: where indexes may lie, which are about to be made again.
        digests: SHA-256 of the shards.

    Raises:
        ShardError: the names are those of other shards, or two of these files differ.
    """
    found = {}
    for path in matching(folder, "index-*.json"):
        try:
            record = read_json(path)
            names = tuple(str(name) for name in record["classes"])
            is_same = any(shard["sha256"] in digests for shard in record["shards"])
        except (ValueError, KeyError, TypeError):
            continue  # a damaged index, or one without names, is why this command is run
        if not is_same:
            raise ShardError(
                f"{path}: names {len(names)} classes of other shards, none of which is here: remove it, or "
                "say the names with --classes FILE"
            )
        found[path] = names
    if (path := folder / CLASSNAMES).is_file():
        found[path] = read_names(path)
    if len(set(found.values())) > 1:
        one, other = list(found)[:2]
        raise ShardError(
            f"{one}, {other.name}: {differing(found[one], found[other])}: say the names with --classes FILE"
        )
    return next(iter(found.values()), None)


def check_names(folder: Path, names: Sequence[str] | None, highest: int) -> None:
    """Refuse fewer names than classes.

    Args:
        folder: of the shards, for the message.
        names: one for each class; None where there are none.
        highest: the largest label.

    Raises:
        ShardError: there are fewer names.
    """
    if names is not None and highest >= len(names):
        raise ShardError(
            f"{printable(folder)}: has a sample of class {highest}, but there are names of {len(names)} "
            "classes only: say all of them with --classes FILE"
        )


def refuse_twice(where: Path, names: Sequence[str], what: str, remedy: str = "") -> None:
    """Refuse names that stand twice.

    Args:
        where: they stand, for the message.
        names: that have to differ.
        what: they are, in the plural.
        remedy: ends the message.

    Raises:
        ShardError: one stands twice.
    """
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ShardError(
            f"{printable(where)}: {len(twice)} {what} stand twice, say {printable(twice[0])!r}{remedy}"
        )


def differing(ours: Sequence[str] | None, theirs: Sequence[str] | None) -> str:
    """Return in words how the classes of two sets differ, in number, name or order; "" where they don't.

    Where one of the two doesn't know its names there is nothing to compare.
    """
    if ours is None or theirs is None or tuple(ours) == tuple(theirs):
        return ""
    if len(ours) != len(theirs):
        return f"{len(ours)} classes and {len(theirs)}"
    place = next(n for n, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    kind = "the same classes in another order" if sorted(ours) == sorted(theirs) else "other classes"
    return f"{kind}: class {place} is {printable(ours[place])!r} and {printable(theirs[place])!r}"
