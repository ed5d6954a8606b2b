"""Find a class by its dotted path, what it is derived from, and what it is built with: all by its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shards.errors import did_you_mean
from shards.user_class.modules import Module, UserClassError, find, inside

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Class:
    """A class statement, and the module that it stands in."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """Its dotted name, where it is defined."""
        return f"{self.module.name}.{self.node.name}"

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.module.path}, line {self.node.lineno}"

    def method(self, name: str) -> Definition | None:
        """Return the definition of a method in its own body."""
        found = [one for one in self.node.body if isinstance(one, Definition) and one.name == name]
        return found[-1] if found else None

    def fields(self) -> list[tuple[str, bool]]:
        """Return the fields that a dataclass is built with, each with whether it has a default."""
        if not any("dataclass" in ast.dump(one) for one in self.node.decorator_list):
            return []
        return [
            (one.target.id, one.value is not None)
            for one in self.node.body
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        ]


def class_of(dotted: str, roots: Sequence[str]) -> Class:
    """Return the class of a dotted path.

    Args:
        dotted: of the module, and the class in it.
        roots: where to look for the module.

    Raises:
        UserClassError: there is no such module, or no such class in it, with the nearest name; or a file has
            an error of syntax.
    """
    parts = dotted.split(".")
    place = _innermost(parts, roots)
    if place is None:
        raise UserClassError(
            f"no module {parts[0]!r}{did_you_mean(parts[0], inside(roots))}; the folder with {parts[0]}.py, "
            f"or with the package {parts[0]}, must be the current one, or in PYTHONPATH"
        )
    rest = parts[place.name.count(".") + 1 :]
    if not rest:
        return _refuse_module(place)
    if len(rest) > 1:
        raise UserClassError(
            f"{place.path}: no module {rest[0]!r} in it{did_you_mean(rest[0], inside(place.folders))}"
        )
    found = _lookup(place, rest[0], roots, set())
    if not isinstance(found, Class):
        names = [*_classes(place), *inside(place.folders)]
        raise UserClassError(
            f"{place.path}: no class {rest[0]!r} in it{did_you_mean(rest[0], names) or _listed(names)}"
        )
    return found


def lineage(start: Class, roots: Sequence[str]) -> Iterator[Class | None]:
    """Yield a class and all that it is derived from, each before its bases; None for what can't be told."""
    seen: set[str] = set()

    def walk(one: Class) -> Iterator[Class | None]:
        if one.name in seen:
            return
        seen.add(one.name)
        yield one
        for base in one.node.bases:
            found = _value(one.module, base, roots)
            if isinstance(found, Class):
                yield from walk(found)
            elif not (isinstance(base, ast.Name) and base.id == "object"):
                yield None

    return walk(start)


def _innermost(parts: Sequence[str], roots: Sequence[str]) -> Module | None:
    """Return the last module on a dotted path."""
    place = None
    for count in range(1, len(parts) + 1):
        found = find(".".join(parts[:count]), roots)
        if found is None:
            break
        place = found
    return place


def _refuse_module(place: Module) -> Class:
    names = _classes(place)
    if not names:
        raise UserClassError(f"{place.path}: a module without a class; name one, {place.name}.CLASS")
    raise UserClassError(
        f"{place.path}: a module; name the class in it: {', '.join(f'{place.name}.{one}' for one in names)}"
    )


def _classes(module: Module) -> list[str]:
    return [one.name for one in _statements(module.tree.body) if isinstance(one, ast.ClassDef)]


def _listed(names: Sequence[str]) -> str:
    return f"; there are: {', '.join(names)}" if names else ", and no other"


def _value(module: Module, node: ast.expr, roots: Sequence[str]) -> Class | Module | None:
    """Return what an expression in a module stands for: a name, or a dotted one."""
    if isinstance(node, ast.Subscript):  # Generic[T]
        return _value(module, node.value, roots)
    if isinstance(node, ast.Name):
        return _lookup(module, node.id, roots, set())
    if isinstance(node, ast.Attribute):
        owner = _value(module, node.value, roots)
        return _lookup(owner, node.attr, roots, set()) if isinstance(owner, Module) else None
    return None


def _lookup(module: Module, name: str, roots: Sequence[str], seen: set[str]) -> Class | Module | None:
    """Return the class or the module that a name at the top of a module stands for."""
    if module.name in seen or (module.source is None and not module.is_package):
        return None
    if inner := find(f"{module.name}.{name}", roots) if module.is_package else None:
        return inner
    seen = {*seen, module.name}
    found: Class | Module | None = None
    stars = []
    for one in _statements(module.tree.body):
        if isinstance(one, ast.ClassDef) and one.name == name:
            found = Class(module, one)
        elif isinstance(one, ast.Import):
            found = _imported(one, name, roots) or found
        elif isinstance(one, ast.ImportFrom):
            owner = module.absolute(one)
            stars += [owner for alias in one.names if alias.name == "*"]
            named = [alias.name for alias in one.names if (alias.asname or alias.name) == name]
            found = next((_member(owner, alias, roots, seen) for alias in named), None) or found
    for star in () if found else stars:
        found = found or _member(star, name, roots, seen)
    return found


def _imported(node: ast.Import, name: str, roots: Sequence[str]) -> Module | None:
    for alias in node.names:
        if alias.asname == name:
            return find(alias.name, roots)
        if alias.asname is None and alias.name.partition(".")[0] == name:
            return find(name, roots)
    return None


def _member(owner: str, name: str, roots: Sequence[str], seen: set[str]) -> Class | Module | None:
    place = find(owner, roots)
    return None if place is None else _lookup(place, name, roots, seen)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements at the top of a module, those in an `if` or `try` there included."""
    for one in body:
        yield one
        if isinstance(one, ast.If | ast.Try | ast.With):
            yield from _statements(one.body)
            yield from _statements(getattr(one, "orelse", []))
            for handler in getattr(one, "handlers", []):
                yield from _statements(handler.body)
