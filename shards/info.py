"""`_info.json` of a folder of shards, from which timm reads the splits: files, and samples of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shards.atomic import replacing
from shards.errors import ShardError
from shards.files.regular_file import read_bytes, read_json
from shards.ignored import printable
from shards.shard import Shard, is_inside

NAME = "_info.json"
_SPLITS = {"validation": "val"}  # what others call them; both names are written


def named(folder: Path) -> dict[str, list[str]] | None:
    """Return the names of the files of each split; None where there is no such file.

    Raises:
        ShardError: it holds no splits.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    return {split: list(facts["filenames"]) for split, facts in _splits(path).items()}


def files(folder: Path) -> dict[str, list[str]] | None:
    """Return the files of each split; None where there is no such file.

    Raises:
        ShardError: it holds no splits, or names a file that isn't in the folder.
    """
    path, splits = folder / NAME, named(folder)
    for name in (name for names in (splits or {}).values() for name in names):
        if not is_inside(name):
            raise ShardError(
                f"{path}: names {printable(name)}: the shards must lie in this folder or below: move them "
                "there, and remove this file"
            )
        if not (folder / name).is_file():
            raise ShardError(
                f"{printable(folder / name)}: missing, though {NAME} names it: copy it again, or remove "
                f"{path}"
            )
    return splits


def check_lengths(folder: Path, samples: Mapping[str, int]) -> None:
    """Compare the lengths that are noted with what was found.

    Raises:
        ShardError: a shard has more or fewer samples.
    """
    path = folder / NAME
    for facts in _splits(path).values() if path.is_file() else ():
        for name, length in zip(facts["filenames"], facts.get("shard_lengths") or (), strict=False):
            if name in samples and samples[name] != length:
                raise ShardError(
                    f"{printable(folder / name)}: has {samples[name]} samples, {NAME} says {length}: copy it "
                    f"again; or if it is meant to be so, remove {path} and type this again"
                )


def renew(folder: Path, splits: Mapping[str, Sequence[Shard]]) -> None:
    """Write what is there now; of a split that is there already, what else others noted is kept.

    What has two names stands under both.

    Raises:
        OSError: the folder is not writable or full.
    """
    path = folder / NAME
    try:
        info = read_json(path) if path.is_file() else {}
        before = {_SPLITS.get(name, name): dict(facts) for name, facts in info["splits"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        info, before = {}, {}
    made = {}
    for split, shards in splits.items():
        for name in (split, *(other for other, ours in _SPLITS.items() if ours == split)):
            made[name] = {
                **before.get(split, {}),
                "name": name,
                "num_samples": sum(shard.samples for shard in shards),
                "filenames": [shard.file for shard in shards],
                "shard_lengths": [shard.samples for shard in shards],
            }
    text = json.dumps({**info, "splits": made}, indent=1).encode()
    if not path.is_file() or read_bytes(path) != text:
        with replacing(path) as file:
            file.write(text)


def _splits(path: Path) -> dict[str, dict[str, Any]]:
    try:
        splits = read_json(path)["splits"]
        found = {_SPLITS.get(split, split): dict(facts) for split, facts in splits.items()}
        for other, split in _SPLITS.items():
            if {other, split} <= {*splits} and splits[other]["filenames"] != splits[split]["filenames"]:
                raise ShardError(f"{path}: {split} and {other} name other files: repair or remove it")
        for facts in found.values():
            if not all(isinstance(name, str) for name in facts["filenames"]):
                raise TypeError("a name that is no text")
            if not isinstance(facts.get("shard_lengths") or [], list):
                raise TypeError("lengths that are no list")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path}: no splits with filenames in it ({error}): repair or remove it") from error
    return found
