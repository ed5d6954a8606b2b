"""Find and read modules without importing them: neither they nor the packages around them are executed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from zipimport import zipimporter

from shards.errors import ExpectedError


class UserClassError(ExpectedError):
    """A class of the user's own that can't be used; the message says where, why, and what to do."""


@dataclass(frozen=True)
class Module:
    """A module that is there: of a package without an __init__.py, the source is empty."""

    name: str
    path: str  # for messages; may lie in a zip file
    source: bytes | None  # None: compiled
    folders: tuple[str, ...]  # of the modules in a package; empty: it is none

    @cached_property
    def tree(self) -> ast.Module:
        """The source, parsed.

        Raises:
            UserClassError: it is none, with the line.
        """
        if self.source is None:
            raise UserClassError(f"{self.path} is no Python source: a class has to lie in a .py file")
        try:
            return ast.parse(self.source, self.path)
        except SyntaxError as error:
            raise UserClassError(f"{self.path}, line {error.lineno}: {error.msg}") from None
        except ValueError as error:  # null bytes
            raise UserClassError(f"{self.path}: no Python source ({error})") from None

    @property
    def is_package(self) -> bool:
        """Whether it has modules of its own."""
        return bool(self.folders)

    @property
    def root(self) -> str:
        """The folder of the search path that the outermost package lies in."""
        depth = self.name.count(".") + 1
        place = Path(self.folders[0]) if self.folders else Path(self.path)
        return str(place.parents[depth - 1])

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield the absolute name of each module that is imported, and what is taken of it ("": nothing)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((self.absolute(node), alias.name) for alias in node.names)

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the module that `from ... import` takes from."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        base = package[: len(package) - (node.level - 1)]
        return ".".join([*base, *([node.module] if node.module else [])])


def search_path() -> list[str]:
    """Return where modules are looked for: in the current folder, then where Python looks."""
    here = str(Path.cwd())
    return [here, *(entry for entry in sys.path if entry not in {"", here})]


def find(name: str, roots: Sequence[str]) -> Module | None:
    """Return the module of a dotted name, None where there is none.

    Args:
        name: dotted.
        roots: folders to look in for the first part of it; what an installed package has registered with
            Python's import system, as editable installs do, is found after these.
    """
    first, *rest = name.split(".")
    if not all(part.isidentifier() for part in (first, *rest)):
        return None
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(first, list(roots)) or _registered(first)
    dotted = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        dotted = f"{dotted}.{part}"
        # by the last part alone: packages without __init__.py would look for the others in sys.modules
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return None if spec is None else _module(dotted, spec)


def inside(folders: Sequence[str]) -> list[str]:
    """Return the names of the modules in some folders, sorted."""
    return sorted({found.name for found in pkgutil.iter_modules(list(folders))})


def _registered(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)  # of a name without a dot: imports nothing
    except ValueError:  # __main__
        return None


def _module(name: str, spec: ModuleSpec) -> Module:
    folders = tuple(map(str, spec.submodule_search_locations or ()))
    if spec.loader is None or spec.origin is None:
        return Module(name, folders[0] if folders else name, b"" if folders else None, folders)
    is_source = isinstance(spec.loader, SourceFileLoader | zipimporter)
    source = spec.loader.get_data(spec.origin) if is_source else None  # type: ignore[attr-defined]
    return Module(name, spec.origin, source, folders)
