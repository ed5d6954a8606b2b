"""Which tar files of a folder are which split."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from pathlib import Path

from shards.errors import ShardError, remake
from shards.regular_file import read_bytes

_PATTERNS = {"train": "*-train-*.tar", "val": "*-val*-*.tar"}
_SPLITS = {"validation": "val"}  # what others call them


def files_of_splits(folder: Path, patterns: Mapping[str, str]) -> dict[str, list[str]]:
    """Which of the tar files in a folder, one at least, are which split.

    Args:
        folder: where they lie.
        patterns: split to the glob pattern of its files; empty: from `_info.json`, else from their names.

    Raises:
        ShardError: there is no telling, a split has none, or two have the same.
    """
    tars = sorted(path.name for path in folder.glob("*.tar"))
    info = folder / "_info.json"
    if not patterns and info.is_file():
        files = _files_of_info(info)
    else:
        files = {
            split: [name for name in tars if fnmatch.fnmatchcase(name, pattern)]
            for split, pattern in (patterns or _PATTERNS).items()
        }
        files = {split: names for split, names in files.items() if names or split in patterns}
    if not files:
        raise ShardError(
            f"{folder}: which of its {len(tars)} tar files ({tars[0]}, ...) are which split? "
            f"Say it: {remake(folder)} --split train=GLOB --split val=GLOB"
        )
    seen: set[str] = set()
    for split, names in files.items():
        if not names:
            raise ShardError(f"{folder}: split {split} has no tar files: say which with --split {split}=GLOB")
        if twice := seen.intersection(names):
            raise ShardError(f"{folder}: {min(twice)} is in two splits: what is trained on can't validate")
        seen.update(names)
    return files


def _files_of_info(info: Path) -> dict[str, list[str]]:
    try:
        splits = json.loads(read_bytes(info))["splits"]
        files = {_SPLITS.get(split, split): list(facts["filenames"]) for split, facts in splits.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{info}: no splits with filenames in it ({error}): repair or remove it") from error
    for name in (name for names in files.values() for name in names):
        if "/" in name:
            raise ShardError(
                f"{info}: names {name}: the shards must lie in the folder itself: move them there"
            )
        if not (info.parent / name).is_file():
            raise ShardError(f"{info.parent / name}: missing, though {info.name} names it: copy it again")
    return files
