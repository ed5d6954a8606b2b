"""Which networks torchvision and timm have, without importing them: the login node looks names up here."""

from __future__ import annotations

import importlib.util
import re
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
    assert f"{library}/" in LIBRARIES
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        raise ConfigError(f"model.name: {library} is not installed; python -m pip install {library}")
    # the folders in this one hold networks for other tasks than classification
    files = sorted((Path(spec.origin).parent / "models").glob("*.py"))
    return sorted(name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8")))
