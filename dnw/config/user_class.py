"""Settings that may name a class of the user's own, `my_lab.growth.Slow`, in place of a known name.

What it has to be is checked where its file is at hand (dnw/user_classes.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import PlainSerializer, WrapValidator

Options = dict[str, Any]  # what such a class is built with besides


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


def _or_known(value: Any, known: Callable[[Any], Any]) -> Any:
    if isinstance(value, str):
        if instead := written(value):
            raise ValueError(instead)
        if is_user_class(value):
            return value
    return known(value)


# of a Literal: these names, or a class of the user's own
OrUserClass = WrapValidator(_or_known)
AsText = PlainSerializer(str, return_type=str)
