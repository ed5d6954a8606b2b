"""What a writer has finished, so that the same command can go on after any end.

write.jsonl in the folder of the shards: first the plan, then one line for each shard that is whole, with the
images that were left out of it, and what else of the source was not taken.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shards.errors import ShardError, remake
from shards.files.folder_entries import matching
from shards.flock import flock
from shards.ignored import Ignored, printable
from shards.shard import Shard
from shards.split_files import tars_in

NAME = "write.jsonl"
_IGNORED = "ignored"
_SHOWN = 16  # characters of a value, of a digest enough to tell it from another
WritePlan = Mapping[str, str | int]


@dataclass(frozen=True)
class Written:
    """A shard that was finished.

    Attributes:
        shard: what is known of the file.
        sources: a digest of what it was made of; "" where that isn't known.
        bad: the images that were left out, each with the reason.
    """

    shard: Shard
    sources: str = ""
    bad: tuple[str, ...] = ()


class Journal:
    """The open journal of a folder; `done` holds the shards that were finished before, by file name."""

    def __init__(self, file: BinaryIO, done: dict[str, Written]) -> None:
        self._file = file
        self.done = done

    def add(self, written: Written) -> None:
        """Record that a shard is whole; it is on the disk when this returns.

        Raises:
            OSError: the disk is full.
        """
        more = {"sources": written.sources, "bad": list(written.bad)}
        known = {name: value for name, value in more.items() if value}
        self._file.write(_line({**dataclasses.asdict(written.shard), **known}))
        self._file.flush()
        os.fsync(self._file.fileno())

    def note(self, ignored: Ignored) -> None:
        """Record what of the source was not taken, if anything.

        Raises:
            OSError: the disk is full.
        """
        if counts := ignored.record():
            self._file.write(_line({_IGNORED: counts}))
            self._file.flush()


@contextmanager
def journal(folder: Path, plan: WritePlan) -> Iterator[Journal]:
    """Open the journal of a folder for a plan, or begin it; nobody else can while it is open.

    Raises:
        ShardError: the folder holds shards of another plan, shards that no journal speaks of, or another
            writer is at work on it.
        OSError: the folder is not writable or full.
    """
    path = folder / NAME
    if not path.exists():
        _refuse_others(folder)
        _refuse_indexes(folder)
    with path.open("a+b") as file:
        _lock(file, folder)
        file.seek(0)
        whole = file.read().rpartition(b"\n")
        file.truncate(len(whole[0] + whole[1]))  # a writer that was killed may leave half a line
        there, done = _parse(path, whole[0].splitlines())
        if there is None:
            file.write(_line(plan))
            file.flush()
        elif there != plan:
            raise ShardError(
                f"{folder}: its shards were written with {_words(there, plan)}, now it would be with "
                f"{_words(plan, there)}: write into another folder, or remove this one"
            )
        yield Journal(file, done)


def _lock(file: BinaryIO, folder: Path) -> None:
    outcome = flock(file)
    if outcome == "held":
        raise ShardError(f"{folder}: another writer is at work on it: wait for it, or stop it")
    if outcome == "none":
        print(f"note: {folder}: the file system has no locks: start no second writer", file=sys.stderr)


def _refuse_others(folder: Path) -> None:
    if tars := tars_in(folder):
        raise ShardError(
            f"{folder}: already holds {len(tars)} tar files that this command didn't write, say "
            f"{printable(tars[0])}: write into another folder, or index what is there with: "
            f"{remake(folder)}"
        )


def _refuse_indexes(folder: Path) -> None:
    if indexes := matching(folder, "index-*.json"):
        raise ShardError(
            f"{folder}: already holds {', '.join(path.name for path in indexes)} of other shards, "
            "which may lie elsewhere: write into another folder, or remove these first"
        )


def _parse(path: Path, lines: list[bytes]) -> tuple[WritePlan | None, dict[str, Written]]:
    try:
        records = [json.loads(line) for line in lines]
        done = [_written(record) for record in records[1:] if _IGNORED not in record]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ShardError(f"{path}: damaged ({error}): remove the folder and write it again") from error
    return (records[0] if records else None), {one.shard.file: one for one in done}


def _written(record: dict[str, Any]) -> Written:
    sources, bad = record.pop("sources", ""), record.pop("bad", ())
    return Written(Shard(**record), str(sources), tuple(map(str, bad)))


def _words(plan: WritePlan, other: WritePlan) -> str:
    differing = {key: str(value) for key, value in plan.items() if value != other.get(key)}
    return ", ".join(f"{key} {value[:_SHOWN]}" for key, value in differing.items())


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record).encode() + b"\n"
