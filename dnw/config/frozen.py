"""The frozen configuration of a run: its file config.yaml."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from dnw.config.parsing import ConfigError, parse
from dnw.config.train import VERSION, Train
from dnw.invocation import RUN, SUBMIT
from shards.files.regular_file import read_bytes

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # much faster, where PyYAML was built with it
_REQUIRED = tuple(
    field.name
    for field in dataclasses.fields(Train)
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
)
ANEW = "the submit command with fresh=true moves the run aside, and begins it anew"


def load(path: Path) -> Train:
    """Read a frozen configuration, as `dump` wrote it.

    Raises:
        ConfigError: it isn't there, or isn't valid for this version of the code.
    """
    values = read(path)
    if (version := values.get("version", VERSION)) != VERSION:
        kept = [code for name in ("code", "code.zip") if (code := path.parent / name).exists()]
        its_own = f"; use the code that the run keeps, {kept[0]}" if kept else ""
        raise ConfigError(f"{path}: has version {version!r}, this code reads version {VERSION}{its_own}")
    if lacking := [name for name in _REQUIRED if name not in values]:
        raise ConfigError(f"{path}: damaged, it lacks {', '.join(lacking)}; {ANEW}")
    try:
        return parse(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {'; '.join(str(error).splitlines())}") from None


def read(path: Path) -> dict[str, Any]:
    """Read the values of a frozen configuration, of whatever version of the code.

    Raises:
        ConfigError: it isn't there, or damaged.
    """
    try:
        text = read_bytes(path).decode()
    except FileNotFoundError:
        if (path.parent / "checkpoints").is_dir():
            raise ConfigError(f"{path}: gone from its run folder; {ANEW}") from None
        raise ConfigError(
            f"{path}: not there, so {path.parent} is no run folder; {_run_around(path)}"
        ) from None
    except NotADirectoryError:
        raise ConfigError(f"{path.parent}: a file; name the run folder, {path.parent.parent}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: damaged ({error.reason}); {ANEW}") from None
    try:
        values = yaml.load(text, Loader=_YAML)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: damaged ({str(error).splitlines()[0]}); {ANEW}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: {'holds no configuration' if text.strip() else 'empty'}; {ANEW}")
    return values


def _run_around(path: Path) -> str:
    """Return what to name instead: the run that a folder lies in."""
    for folder in path.absolute().parents[1:3]:
        if (folder / path.name).is_file() and (folder / "checkpoints").is_dir():
            return f"name that of the run, {folder}"
    return f"{SUBMIT} and {RUN} make one"
