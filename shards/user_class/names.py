"""The dotted path of a class, told from the name of a file."""

from __future__ import annotations

import re
from pathlib import Path


def is_user_class(name: str) -> bool:
    """Return whether a name is the dotted path of a class: modules, then the class."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def written(name: str) -> str:
    """Return what to write in place of a file's name, or of a relative import; "" where it is neither."""
    if name.endswith(".py"):
        module = ".".join(Path(name.removesuffix(".py")).parts).lstrip("./")
        return f"the dotted path of a class: {module}.CLASS"
    if "/" in name and re.search(r"\.\w+$", name):
        return f"the dotted path of a class: {name.replace('/', '.').lstrip('.')}"
    if name.startswith("."):
        return f"the whole path of a class, from its outermost package on: PACKAGE{name}"
    return ""
