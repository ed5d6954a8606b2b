"""What a class of the user's own has to be, for the place that it is named at; checked by its source."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shards.errors import did_you_mean
from shards.user_class.classes import Class, Definition, class_of, lineage
from shards.user_class.modules import UserClassError

OURS = frozenset({"dnw", "launch", "shards", "hydra_plugins"})


@dataclass(frozen=True)
class Kind:
    """What is asked of a class.

    Attributes:
        what: what it is, for messages.
        base: the class that it has to be derived from, by the module that defines it; "": none.
        written: how a user writes that base.
        other: a base that makes it one of another kind, by the module that defines it, and that kind.
        positional: what it is built with, first.
        keywords: what it is built with besides, by name.
        offered: what it is given besides if it takes it, by name.
        methods: those that it must have, with their arguments.
    """

    what: str
    base: str = ""
    written: str = ""
    other: tuple[str, str] = ("", "")
    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    methods: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Constructor:
    """What a class can be built with.

    Attributes:
        where: file and line of what says so.
        positional: names in their order; those that stand for any number are not among them.
        names: what is taken by name.
        required: what has no default.
        is_open: whether it takes any name, as far as can be told.
        is_variadic: whether it takes any number of values.
    """

    where: str
    positional: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    is_open: bool = False
    is_variadic: bool = False


def check(dotted: str, kind: Kind, options: Collection[str], setting: str, roots: Sequence[str]) -> Class:
    """Return the class of a dotted path, if it can stand where it is named.

    Args:
        dotted: as typed.
        kind: what it has to be.
        options: names of what the user gives it.
        setting: that holds these; "": there is none.
        roots: where to look for its module.

    Raises:
        UserClassError: there is none, it is of another kind, or it takes none of what it is built with.
    """
    first = dotted.partition(".")[0]
    if first in OURS:
        raise UserClassError(f"{first} is this project's own package; name a class in a file of yours")
    if first in sys.stdlib_module_names:
        raise UserClassError(f"{first} is a module of Python's own; give your file another name")
    found = class_of(dotted, roots)
    line = list(lineage(found, roots))
    _check_base(found, line, kind)
    _check_methods(found, line, kind)
    _check_constructor(found, constructor(line), kind, options, setting)
    return found


def constructor(line: Sequence[Class | None]) -> Constructor:
    """Return what the first class of a lineage is built with: what it hands on to its bases, too."""
    for place, one in enumerate(line):
        if one is None:
            return Constructor("", is_open=True, is_variadic=True)
        if fields := one.fields():
            names = tuple(name for name, _ in fields)
            needed = frozenset(name for name, has_default in fields if not has_default)
            return Constructor(one.where, names, frozenset(names), needed)
        if (definition := one.method("__init__")) is not None:
            own = _of(one, definition)
            if definition.args.kwarg is None:
                return own
            inner = constructor(line[place + 1 :])
            is_open = inner.is_open or not inner.where or inner.is_variadic
            return dataclasses.replace(own, names=own.names | inner.names, is_open=is_open)
    return Constructor("")


def _of(one: Class, definition: Definition) -> Constructor:
    arguments = definition.args
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    without_default = (
        positional[: len(positional) - len(arguments.defaults)] if arguments.defaults else positional
    )
    by_name = [
        name.arg
        for name, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    names = {name.arg for name in [*arguments.args[1:], *arguments.kwonlyargs]}
    if arguments.posonlyargs:
        names |= {name.arg for name in arguments.args}
    return Constructor(
        f"{one.module.path}, line {definition.lineno}",
        tuple(name.arg for name in positional),
        frozenset(names),
        frozenset({*(name.arg for name in without_default), *by_name}),
        is_variadic=arguments.vararg is not None,
    )


def _check_base(found: Class, line: Sequence[Class | None], kind: Kind) -> None:
    names = {one.name for one in line if one is not None}
    if kind.other[0] in names:
        raise UserClassError(f"{found.where}: a {kind.other[1]}, no {kind.what}")
    if not kind.base or kind.base in names or None in line:
        return  # what can't be told here, the node tells
    bases = ", ".join(map(ast.unparse, found.node.bases)) or "nothing"
    raise UserClassError(
        f"{found.where}: no {kind.what}, as {found.node.name} is derived from {bases}; "
        f"derive it from {kind.written}"
    )


def _check_methods(found: Class, line: Sequence[Class | None], kind: Kind) -> None:
    for name, arguments in kind.methods.items():
        written = f"def {name}(self, {', '.join(arguments)})"
        owner = next((one for one in line if one is not None and one.method(name) is not None), None)
        if owner is None:
            if None in line:
                continue
            raise UserClassError(
                f"{found.where}: no {kind.what} without {written}; give {found.node.name} one"
            )
        definition = owner.method(name)
        assert definition is not None
        given = _of(owner, definition)
        fits = given.is_variadic or len(given.positional) >= len(arguments)
        if not fits or len(given.required & {*given.positional}) > len(arguments):
            raise UserClassError(f"{given.where}: must be {written}")


def _check_constructor(
    found: Class, built: Constructor, kind: Kind, options: Collection[str], setting: str
) -> None:
    name = found.node.name
    where = built.where or found.where
    if not built.is_variadic and len(built.positional) < len(kind.positional):
        more = [*kind.keywords, *(["**given"] if kind.keywords else [])]
        raise UserClassError(
            f"{where}: {name} must be built with {', '.join(kind.positional)}: "
            f"def __init__(self, {', '.join([*kind.positional, *more[-1:]])})"
        )
    covered = {*built.positional[: len(kind.positional)], *kind.keywords, *kind.offered}
    lacking = [one for one in kind.keywords if one not in built.names and not built.is_open]
    if lacking:
        raise UserClassError(
            f"{where}: {name} must take {', '.join(lacking)} too: end its arguments with **given, and hand "
            "that to super().__init__"
        )
    free = sorted(built.names - covered)
    for option in options:
        if option in covered or (option not in free and not built.is_open):
            takes = f"; it takes {', '.join(free)}" if free else "; it takes none"
            raise UserClassError(
                f"{where}: {name} has no option {option!r}{did_you_mean(option, free) or takes}"
            )
    if needed := sorted(built.required - covered - {*options}):
        typed = (
            f": {setting}={{{', '.join(f'{one}: VALUE' for one in needed)}}}"
            if setting
            else ", without default"
        )
        raise UserClassError(f"{where}: {name} needs {', '.join(needed)}{typed}")


def offered(built: Constructor, values: Mapping[str, object]) -> dict[str, object]:
    """Return those of some values that a class takes by name."""
    return {name: value for name, value in values.items() if name in built.names}
