"""Files of configs/: which count, and what is said of one that Hydra would not read as it is meant."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from dnw.config import ConfigError
from shards.files.folder_entries import matching
from shards.files.regular_file import read_bytes

_IS_GLOBAL = re.compile(r"(\s*#.*\n)*?# *@package +_global_\s")  # which Hydra looks for above the settings


def options(group: Path) -> list[str]:
    """Return the names of a group's files; not of hidden ones, which editors leave there."""
    return sorted(path.stem for path in matching(group, "*.yaml") if not path.name.startswith("."))


def check_chosen(words: Iterable[str], configs: Path) -> None:
    """Refuse a damaged file that a word like +exp=NAME chooses, or several with commas.

    Raises:
        ConfigError: as `check`.
    """
    for group, _, value in (word.lstrip("+").partition("=") for word in words):
        for name in value.split(",") if (configs / group).is_dir() else ():
            if name in options(configs / group):
                check(configs / group / f"{name}.yaml")


def check(path: Path) -> None:
    """Refuse the file of a config group that is damaged, or would be read as something else.

    Raises:
        ConfigError: it is no UTF-8, no YAML with settings, or an experiment that has another's name.
        OSError: it can't be read.
    """
    content = read_bytes(path)
    if content.startswith(codecs.BOM_UTF8):
        raise ConfigError(
            f"{path}: begins with a byte order mark, which hides its first line; save it without"
        )
    try:
        text = content.decode()
        values = OmegaConf.create(text)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: no UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(explain(error, path)) from None
    if not values or not isinstance(values, DictConfig):
        raise ConfigError(f"{path}: must have settings, NAME: VALUE, a line each")
    if path.parent.name == "exp":
        _check_experiment(path, text, values)


def _check_experiment(path: Path, text: str, values: DictConfig) -> None:
    if not _IS_GLOBAL.match(text):
        raise ConfigError(f"{path}: must begin with the line '# @package _global_', as all experiments do")
    settings: Any = OmegaConf.to_container(values, resolve=False)
    named = settings.get("exp")
    if str(named) != path.stem:
        raise ConfigError(
            f"{path}: must have the line 'exp: {path.stem}' (got {str(named)!r}), which names its runs"
        )


def explain(error: yaml.YAMLError, path: Path | str = "") -> str:
    """Return one line for a file that is no YAML."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    where = f"{path or getattr(mark, 'name', 'configs')}" + (f", line {mark.line + 1}" if mark else "")
    return f"{where}: no YAML: {problem}"


def first_comment(path: Path) -> str:
    """Return what a file says of itself in its first line; empty if it says nothing."""
    try:
        text = read_bytes(path).decode()
    except (OSError, UnicodeDecodeError):
        return "(can't be read)"
    comments = re.findall(r"^# *(.+)$", text, re.MULTILINE)
    return next((str(line) for line in comments if not line.startswith("@package")), "")
