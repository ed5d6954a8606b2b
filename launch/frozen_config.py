"""config.yaml of a run, as it was frozen: with a digest at its head, so that an edit by hand is noticed.

What was typed last overwrites the settings that change no result, which would undo an edit without a word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dnw import config
from dnw.config import Train
from dnw.dotted import dotted
from dnw.identity import identity
from shards.atomic import replacing

SEAL = "# Frozen: type settings, don't edit them here. SHA-256 of what follows: "


def write(path: Path, train: Train, keeps_code: bool = False) -> None:
    """Freeze a configuration, whole or not at all, unless that is what is there.

    Args:
        path: where to.
        train: what was typed last.
        keeps_code: the run goes on with the code that it has, of an earlier version perhaps: a setting that
            the file there doesn't have stays out. It is at what stands for none, or changes no result.
    """
    values = config.plain(train)
    if keeps_code:
        values = _known(values, config.read(path))
    text = yaml.safe_dump(values, sort_keys=False)
    content = f"{SEAL}{_digest(text)}\n{text}".encode()
    if not path.exists() or path.read_bytes() != content:
        with replacing(path) as file:
            file.write(content)


def left_out(path: Path, train: Train, words: Sequence[str]) -> Iterator[str]:
    """Yield the settings that were typed and that `write` with `keeps_code` leaves out.

    Args:
        path: what was frozen before.
        train: what was typed last.
        words: of the command line.

    Raises:
        dnw.config.ConfigError: the file is damaged.
    """
    keys = [word.partition("=")[0].lstrip("+~") for word in words]
    known, values = dotted(config.read(path)), config.plain(train)
    there, typed = dotted(config.plain(config.load(path))), dotted(values)
    for key, value in typed.items():
        was_typed = any(key == one or key.startswith(f"{one}.") for one in keys)
        if was_typed and key not in known and there.get(key) != value:
            yield key


def edited(path: Path, train: Train) -> dict[str, tuple[Any, Any]]:
    """Return the settings that were edited by hand, each with its value there and that of `train`.

    Of a file without a digest, as earlier versions wrote it, only those that the result depends on can be
    told from what was typed before.

    Raises:
        dnw.config.ConfigError: it is damaged, or isn't valid for this version of the code.
    """
    head, _, text = path.read_text().partition("\n")
    if head == SEAL + _digest(text):
        return {}
    ours, theirs = config.plain(train), config.plain(config.load(path))
    if not head.startswith(SEAL):
        ours, theirs = identity(ours), identity(theirs)
    there, typed = dotted(theirs), dotted(ours)
    return {key: (there[key], typed[key]) for key in typed if there[key] != typed[key]}


def _known(values: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the settings that are there, too."""
    return {
        key: _known(value, there[key]) if isinstance(value, dict) and isinstance(there[key], dict) else value
        for key, value in values.items()
        if key in there
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
