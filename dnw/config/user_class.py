"""Settings that may name a class of the user's own, `my_lab.growth.Slow`, in place of a known name.

What it has to be is checked where its file is at hand (dnw/user_classes.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import PlainSerializer, WrapValidator

from dnw.ranges import Finite
from shards.user_class.names import is_user_class, written

Options = dict[str, Finite]  # what such a class is built with besides


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
