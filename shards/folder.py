"""A folder of shards: what is missing from it, in words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from shards.errors import ShardError, remake
from shards.shard import Shard


def why_no_index(folder: Path, split: str) -> str:
    """Return why a folder has no index of a split, and what makes one."""
    write = f"python -m shards.write KIND SOURCE {folder}"
    if folder.exists() and not folder.is_dir():
        return f"{folder}: a file, must be the folder of the shards"
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
