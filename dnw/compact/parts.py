"""A compact network as arrays by name and a structure that JSON can hold, and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from typing import Any

import numpy as np
import safetensors.numpy

from dnw.compact.form import A, Arrays, Compact


def fingerprint(network: Compact) -> str:
    """SHA-256 of a network: of its structure and its weights."""
    arrays: dict[str, Arrays] = {}
    structure = json.dumps(taken_apart(network.arrays(), "network", arrays))
    return hashlib.sha256(structure.encode() + safetensors.numpy.save(arrays)).hexdigest()


def taken_apart(part: Any, name: str, arrays: dict[str, Arrays]) -> Any:
    """Return the part as JSON knows it.

    Args:
        part: a dataclass, a sequence, an array, or what JSON has.
        name: what the part is called in the whole, its path with dots.
        arrays: takes the part's arrays, by name.
    """
    if isinstance(part, np.ndarray):
        arrays[name] = part
        return None
    if isinstance(part, tuple):
        return [taken_apart(inner, f"{name}.{place}", arrays) for place, inner in enumerate(part)]
    if dataclasses.is_dataclass(part):
        names = (field.name for field in dataclasses.fields(part))
        return {inner: taken_apart(getattr(part, inner), f"{name}.{inner}", arrays) for inner in names}
    return part


def put_together(kind: Any, value: Any, name: str, arrays: dict[str, Arrays]) -> Any:
    """Return the object of type `kind` that `taken_apart` made plain.

    Args:
        kind: its type, as an annotation has it.
        value: what `taken_apart` returned for it.
        name: what it is called in the whole.
        arrays: the arrays of the whole, by name.

    Raises:
        TypeError, KeyError, AttributeError: `taken_apart` has not made it.
    """
    if kind is A:
        return arrays[name]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if inner[1] is not ... and len(value) != len(inner):
            raise TypeError(f"{name}: must have {len(inner)} parts, got {value!r}")
        return tuple(put_together(inner[0], one, f"{name}.{i}", arrays) for i, one in enumerate(value))
    if origin in (types.UnionType, typing.Union):
        return None if value is None else put_together(inner[0], value, name, arrays)
    if dataclasses.is_dataclass(origin or kind):
        made = typing.cast(Any, origin or kind)
        hints = typing.get_type_hints(made)
        fields = dataclasses.fields(made)  # a file that an earlier version has written may lack some
        keys = [one.name for one in fields if one.name in value or one.default is dataclasses.MISSING]
        return made(**{key: put_together(hints[key], value[key], f"{name}.{key}", arrays) for key in keys})
    if type(value) is not kind:
        raise TypeError(f"{name}: must be {kind.__name__}, got {value!r}")
    return value
