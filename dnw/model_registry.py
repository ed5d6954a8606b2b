"""Which networks torchvision and timm have, without importing them: the login node looks names up here."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dnw.config import LIBRARIES, ConfigError, Train
from shards.errors import did_you_mean

# what both libraries put before a function that builds a network, with other decorators in between
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def check(train: Train) -> None:
    """Look up the name of a network of a library; any other network passes.

    Raises:
        ConfigError: the library has no such classifier, or isn't installed.
    """
    library, slash, name = train.model.name.partition("/")
    if not slash:
        return
    known = names(library)
    if name not in known:
        nearest = did_you_mean(name, known)
        raise ConfigError(f"model.name: {library} has no classifier {name!r}{nearest}")


@cache
def names(library: str) -> list[str]:
    """Every classifier that `library`, torchvision or timm, builds by name, sorted.

    Raises:
        ConfigError: it isn't installed.
    """
    return sorted(name for text in _sources(library) for name in _REGISTERED.findall(text))


def source(library: str, name: str) -> str:
    """Return the module of `library` that builds the classifier `name`, which it has, as text."""
    return next(text for text in _sources(library) if name in _REGISTERED.findall(text))


def _sources(library: str) -> Iterator[str]:
    assert f"{library}/" in LIBRARIES
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        raise ConfigError(f"model.name: {library} is not installed; python -m pip install {library}")
    # the folders in this one hold networks for other tasks than classification
    for file in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        yield file.read_text(encoding="utf-8")
