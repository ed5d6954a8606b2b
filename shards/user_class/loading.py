"""Import a class of the user's own, and build it; what it raises is told in one line, with file and line."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from shards.user_class.classes import Class
from shards.user_class.modules import UserClassError

T = TypeVar("T")


def load(found: Class) -> Any:
    """Import the module of a class, and return the class.

    Raises:
        UserClassError: importing fails, or another module of that name comes first.
    """
    name, root = found.module.name, found.module.root
    if root not in sys.path:
        sys.path.append(root)
    module = told(lambda: importlib.import_module(name), found)
    if (there := getattr(module, "__file__", None)) is not None and Path(there) != Path(found.module.path):
        raise UserClassError(f"{found.module.path}: {there} has the same name, and comes first; rename yours")
    return told(lambda: getattr(module, found.node.name), found)


def told(make: Callable[[], T], found: Class) -> T:
    """Return what a call of the user's code returns.

    Raises:
        UserClassError: it raises an exception; the message names the last line of the user's own.
    """
    try:
        return make()
    except Exception as error:
        what = f"{type(error).__name__}: {error}".strip().replace("\n", " ")
        if isinstance(error, SyntaxError):
            raise UserClassError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
        raise UserClassError(f"{_where(error, found)}: {what}") from error


def _where(error: Exception, found: Class) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(found.module.root)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else found.where
