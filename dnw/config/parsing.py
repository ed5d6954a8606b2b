"""From plain values to the configuration, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from dnw.config.contradictions import contradictions
from dnw.config.optim import Optim
from dnw.config.optimization import unused_words
from dnw.config.train import Train
from dnw.setting_errors import explain, known_keys
from shards.errors import ExpectedError, shown

T = TypeVar("T")


class ConfigError(ExpectedError, ValueError):
    """A configuration that can't be run; the message names the setting and the remedy."""


def parse(values: Mapping[str, Any]) -> Train:
    """Build the configuration from plain values, strictly.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a value of a wrong type or out of range,
            settings that exclude each other. All of them at once, a line each.
    """
    train = parse_as(Train, values)
    problems = list(contradictions(train))
    if problems:
        raise ConfigError("\n".join(problems))
    return train


def check_typed(optim: Optim, words: Sequence[str]) -> None:
    """Refuse a word of the command line, `optim.NAME=VALUE`, that would have no effect.

    Raises:
        ConfigError: the schedule has no such setting.
    """
    if problems := list(unused_words(optim, words)):
        raise ConfigError("\n".join(problems))


def parse_as(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build any configuration dataclass from plain values.

    Raises:
        ConfigError: as `parse` does.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        lines = explain(error.errors(include_url=False), known_keys(kind))
        raise ConfigError("\n".join(lines)) from None


def plain(train: Train) -> dict[str, Any]:
    """Return the configuration as values that YAML and JSON know."""
    values: dict[str, Any] = TypeAdapter(Train).dump_python(train, mode="json")
    return values


def dump(train: Train) -> str:
    """Return the configuration as YAML."""
    return yaml.safe_dump(plain(train), sort_keys=False)


def dump_for_people(train: Train) -> str:
    """Return the configuration as YAML, without what lets somebody read its images."""
    data = dataclasses.replace(train.data, url=shown(train.data.url))
    return dump(dataclasses.replace(train, data=data))
