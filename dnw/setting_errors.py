"""What to say of a setting that isn't one, or of a value that it can't have."""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import typing
from collections.abc import Collection, Iterable, Sequence
from typing import Any

FORMAT = "version"  # of config.yaml; nobody types it
FROZEN = ("_fingerprint", "_signature")  # what the launcher fills in ends like this
INSTEAD = {"checkpoint.every": "checkpoint.every_minutes=20 or checkpoint.every_steps=100 sets an interval"}
_AMONG = 3  # settings that a message offers


def known_keys(kind: Any, prefix: str = "") -> list[str]:
    """Return every key of a configuration dataclass, dotted."""
    keys = []
    for field in dataclasses.fields(kind):
        keys.append(prefix + field.name)
        inner = typing.get_type_hints(kind)[field.name]
        if dataclasses.is_dataclass(inner):
            keys += known_keys(inner, f"{prefix}{field.name}.")
    return keys


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest known word, or nothing."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def no_such_setting(key: str, known: Collection[str]) -> str:
    """Return what to say of a key that is none of the known ones."""
    if key == FORMAT:
        return f"{key}: no setting, but the format of config.yaml; leave it out"
    settable = [one for one in known if one != FORMAT and not one.endswith(FROZEN)]
    last = key.rpartition(".")[2]
    inside = [one for one in settable if one.rpartition(".")[2] == last and one != key][:_AMONG]
    meant = f"; did you mean {' or '.join(inside)}?" if inside else did_you_mean(key, settable)
    return f"{key}: no such setting{meant}"


def explain(problems: Sequence[Any], known: Collection[str]) -> list[str]:
    """Return a line for each setting that pydantic has a problem with."""
    found: dict[str, Any] = {}
    for problem in problems:
        key = _setting(known, problem)
        if key not in found or problem["type"] in {"finite_number", "missing"}:
            found[key] = problem
    return [_line(key, problem, known) for key, problem in found.items()]


def _setting(known: Collection[str], problem: Any) -> str:
    """Return the setting that a problem is with: of a list, whichever of its values it is, the list."""
    parts = [str(part) for part in problem["loc"]]
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    is_known = problem["type"] != "unexpected_keyword_argument" and not _is_missing_whole(problem)
    return next((prefix for prefix in prefixes if is_known and prefix in known), prefixes[0])


def _is_missing_whole(problem: Any) -> bool:
    return problem["type"] == "missing" and not isinstance(problem["loc"][-1], int)


def _line(key: str, problem: Any, known: Collection[str]) -> str:
    if problem["type"] == "unexpected_keyword_argument":
        return no_such_setting(key, known)
    if _is_missing_whole(problem):
        return f"{key}: must be set"
    return f"{key}: must {_must(key, problem)}"


def _must(key: str, problem: Any) -> str:
    value, context = problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case "missing" | "too_long":
            count = context.get("max_length") or problem["loc"][-1] + 1
            return f"have {count} values (got {value!r})"
        case "tuple_type" if value is None:
            return "be a list (got None)"
        case "tuple_type":
            typed = f'{key}=["{value}"]' if isinstance(value, str) else f"{key}=[{value}]"
            return f"be a list (got {value!r}), in brackets: {shlex.quote(typed)}"
        case "path_type":
            return f"be the name of a folder (got {value!r})"
    text = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    bounds = [bound for bound in context.values() if isinstance(bound, float)]
    if bounds:  # in pydantic's words 3.4e38 has 39 digits
        text = f"{text.rpartition(' ')[0]} {bounds[0]:g}"
    instead = f"; {INSTEAD[key]}" if key in INSTEAD else ""
    return f"be {text} (got {value!r}){instead}"
