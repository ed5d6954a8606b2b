"""Find a run that was meant: of the same words, when a recipe had other defaults, or under another name."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from dnw import config
from dnw.config import ConfigError, Train
from dnw.dotted import dotted
from dnw.identity import NOT_IDENTITY, identity, signature
from dnw.invocation import RUNS
from dnw.runs.folder import Run
from dnw.runs.source_run import quoted
from dnw.tracking import tracker
from launch import frozen_config
from launch.config import is_launch_key
from shards.files.folder_entries import matching

_NAMED = re.compile(r".*-[0-9a-f]{10}(\.old-.*)?")  # by its signature, or moved aside by fresh=true

LONGEST_NAME = 120  # bytes of what was overridden, in the name of a folder; file systems take 255
_LONGEST_LETTER = 4  # bytes


def renamed(train: Train, parent: Path) -> Path | None:
    """Return the folder of this very run, if someone gave it a name without its signature.

    Args:
        train: the configuration.
        parent: where the experiment's runs are.
    """
    ours = json.dumps(identity(config.plain(train)), sort_keys=True)
    for path in matching(parent, "[!.]*/config.yaml"):
        if not _NAMED.fullmatch(path.parent.name):
            try:
                theirs = identity(config.read(path))
            except ConfigError:
                continue
            if json.dumps(theirs, sort_keys=True) == ours:
                return path.parent
    return None


def earlier(train: Train, run: Run) -> Iterator[str]:
    """Yield what to say of each such run, where `run` is a new one."""
    if run.folder.exists():
        return
    digits = signature(train)
    words = run.folder.name.removesuffix(digits)
    if len(os.fsencode(words)) > LONGEST_NAME - _LONGEST_LETTER:  # cut: others may differ from there on
        return
    ours = dotted(identity(config.plain(train)))
    for folder in matching(run.folder.parent, words + "[0-9a-f]" * len(digits)):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            theirs = dotted(identity(config.read(Run(folder).config)))
        except ConfigError as error:
            yield f"{name} has the same words, and can't be read: {error}"
            continue
        differing = [key for key in ours if key in theirs and theirs[key] != ours[key]]
        if differing and not any(key.endswith(("_fingerprint", "_signature")) for key in differing):
            typed = " ".join(shlex.quote(f"{key}={quoted(theirs[key])}") for key in differing)
            yield (
                f"{run.name} is a new run: {name}, which the same words made earlier, has other settings; "
                f"type also {typed} to go on with that one"
            )


def left_out(train: Train, run: Run, words: Sequence[str]) -> Iterator[str]:
    """Yield what to say of each setting that was typed, but that the code a run keeps doesn't know.

    Args:
        train: the configuration.
        run: that is there, and goes on with its own code.
        words: that were typed.
    """
    for key in frozen_config.left_out(run.config, train, words):
        to = [f"--to {name}" for name in train.track if name in tracker.NAMES] if key == "track" else []
        later = f", or {RUNS} track {shlex.quote(str(run.folder))} {' '.join(to)}" if to else ""
        yield (
            f"{key}: this run keeps code of an earlier version, which knows no such setting: code=new{later}"
        )


def overridden(overrides: Collection[str], apart: Collection[str] = ()) -> str:
    """Return the training settings that were typed, fit for a file name: they set a run apart for people.

    Args:
        overrides: as typed.
        apart: those that other runs of a sweep don't have: where not all fit into the name they come first.
    """
    words = sorted(overrides, key=lambda word: word.lstrip("+~"))
    told = [word for word in words if _tells(word.lstrip("+~").split("=")[0].split("@")[0])]
    name = _as_name(told)
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = _as_name(sorted(told, key=lambda word: word not in apart))
    return os.fsencode(name)[:LONGEST_NAME].decode(errors="ignore") or "default"


def _as_name(words: Sequence[str]) -> str:
    return re.sub(r"[^\w=.,+-]+", "_", ",".join(_short(word.lstrip("+~")) for word in words))


def _short(word: str) -> str:
    """Return a setting as typed; of a file of weights its name alone."""
    key, _, value = word.partition("=")
    return f"init={Path(value).name}" if key == "init" else word


def _tells(key: str) -> bool:
    parts = key.split(".")
    prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return key != "exp" and not is_launch_key(key) and not prefixes & (NOT_IDENTITY - {"init"})
