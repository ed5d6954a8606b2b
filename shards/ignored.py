"""Entries of a source that are not taken: each is named and counted, or an error.

Names are bytes to the file system; here they are what os.fsdecode makes of them.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shards.errors import ShardError

# Plainly no images: hidden, or left by a program that lists folders, or meant for people.
USUAL = (".*", "Thumbs.db", "desktop.ini", "__MACOSX", "*.txt", "*.md", "README", "LICENSE")
_SHOWN = 3  # entries in a message
Counts = dict[str, list[int | str]]  # by pattern: how many, and the first of them; as JSON has it


class Ignored:
    """What of a source is not taken. It can be pickled, and that of another part of the source be added.

    Attributes:
        skip: patterns of the user, shell-style, each for a name or for a path within the source.
    """

    def __init__(self, skip: Sequence[str] = ()) -> None:
        self.skip = tuple(skip)
        self._counts: Counter[str] = Counter(dict.fromkeys(skip, 0))  # one that names nothing shows
        self._first: dict[str, str] = {}
        self._refused: list[tuple[str, str]] = []
        self._patterns = (*self.skip, *USUAL)
        self._any = _any_of(self._patterns)

    def names(self, path: str) -> bool:
        """Return whether a pattern names this entry, a path within the source, or a folder that it is in.

        It is counted then.
        """
        parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
        for text in (*parts, "/".join(parts)):
            if (found := self._any.match(text)) and found.lastgroup:
                self.count(self._patterns[int(found.lastgroup[1:])], path)
                return True
        return False

    def is_skipped(self, path: str) -> bool:
        """Return whether a pattern of the user names this entry."""
        texts = (*path.split("/"), path)
        return any(fnmatch.fnmatch(text, pattern) for pattern in self.skip for text in texts)

    def count(self, pattern: str, path: str) -> None:
        """Count an entry that is not taken, whatever names it."""
        self._counts[pattern] += 1
        self._first.setdefault(pattern, path)

    def refuse(self, path: str, why: str) -> None:
        """Note an entry that can't be taken, and that no pattern names."""
        self._refused.append((path, why))

    def add(self, other: Ignored) -> None:
        """Add what was not taken of another part of the source."""
        self._counts.update(other._counts)
        self._first = {**other._first, **self._first}
        self._refused += other._refused

    def check(self, where: Path | str) -> None:
        """Refuse a source with entries that were neither taken nor named.

        Raises:
            ShardError: with the first of them, why, and the patterns that would name them all.
        """
        if not self._refused:
            return
        shown = [f"{printable(path)} ({why})" for path, why in self._refused[:_SHOWN]]
        more = f", and {len(self._refused) - _SHOWN} more" if len(self._refused) > _SHOWN else ""
        options = " ".join(f"--skip {shlex.quote(one)}" for one in _patterns(self._refused))
        raise ShardError(
            f"{printable(where)}: {len(self._refused)} entries would be lost: {', '.join(shown)}{more}: "
            f"mend them, or leave them out with {options}"
        )

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Path and fault of what would be lost."""
        return tuple(self._refused)

    @property
    def total(self) -> int:
        """How many entries are named."""
        return self._counts.total()

    @property
    def skipped(self) -> int:
        """How many entries a pattern of the user names."""
        return sum(self._counts[pattern] for pattern in self.skip)

    def record(self) -> Counts:
        """Return the counts as JSON can hold them."""
        return {pattern: [count, self._first.get(pattern, "")] for pattern, count in self._counts.items()}

    def lines(self) -> Iterator[str]:
        """Yield a line for each pattern."""
        for pattern, count in sorted(self._counts.items()):
            first = f", say {printable(self._first[pattern])}" if count else ""
            yield f"not taken: {count:,} named {printable(pattern)}{first}"


@functools.cache  # there is an object for each shard
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    each = (f"(?P<p{n}>{fnmatch.translate(pattern)})" for n, pattern in enumerate(patterns))
    return re.compile("|".join(each))


def add_skip(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --skip."""
    parser.add_argument(
        "--skip",
        action="append",
        type=_pattern,
        default=[],
        metavar="PATTERN",
        help="leave out what this names, say '*.csv' or 'train/old'; it is counted",
    )


def _pattern(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must be a name, or a pattern of names (got '')")
    return text


def printable(text: object) -> str:
    """Return a name or path with escapes in the place of what no terminal shows."""
    return "".join(
        one if one.isprintable() else f"\\x{ord(one) - 0xDC00:02x}" if 0xDC80 <= ord(one) <= 0xDCFF
        else one.encode("unicode_escape").decode()
        for one in str(text)
    )  # fmt: skip


def literal(path: str) -> str:
    """Return a pattern for this path alone; what can't be typed stands as a question mark."""
    return "".join(f"[{one}]" if one in "*?[" else one if one.isprintable() else "?" for one in path)


def _patterns(refused: Iterable[tuple[str, str]]) -> list[str]:
    """Return patterns that name all these, few where a suffix is common to many."""
    paths = [path for path, _ in refused]
    suffixes = Counter(Path(path).suffix for path in paths)
    # a suffix of images names those that are taken, too
    common = {suffix for suffix, count in suffixes.items() if count > 1 and suffix.lower() not in _OF_TAKEN}
    few = {f"*{suffix}" for suffix in common if suffix}
    few |= {literal(path) for path in paths if Path(path).suffix not in common - {""}}
    return sorted(few)


_OF_TAKEN = {
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".ppm",
    ".bmp",
    ".pgm",
    ".tif",
    ".tiff",
    ".webp",
    ".gif",
    ".tar",
}
_OF_TAKEN |= {".cls"}
