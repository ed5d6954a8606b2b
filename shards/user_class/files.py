"""The files of a class of the user's own: its module, and what that imports of the same package or folder."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shards.user_class.check import OURS
from shards.user_class.modules import Module, UserClassError, find

_INSTALLED = frozenset(sysconfig.get_paths().values())


def files_of(module: Module, roots: Sequence[str]) -> dict[str, bytes]:
    """Return the sources that a module needs of its own package, or of its own folder, by their names.

    An installed package brings its own modules alone; a file in another folder those beside it, too. Only
    import statements are followed.

    Args:
        module: that a class lies in.
        roots: where its name is looked for.

    Raises:
        UserClassError: one of them has an error of syntax, or is compiled.
    """
    top, folder = module.name.partition(".")[0], module.root
    beside = () if folder in _INSTALLED or Path(folder).name == "site-packages" else (folder,)
    found: dict[str, Module] = {}
    waiting = [module.name]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        is_own = name.partition(".")[0] == top
        one = find(name, roots if is_own else beside) if is_own or _may_lie_beside(name, beside) else None
        if one is None or (not is_own and one.root != folder):
            continue
        if one.source is None:
            raise UserClassError(
                f"{one.path}: compiled, and can't be kept with a run; install {name.partition('.')[0]} as a "
                "package, and name a class in a .py file that imports it"
            )
        found[name] = one
        waiting += _around(name)
        waiting += [other for named in one.imports() for other in _modules(*named)]
    return {_file(one): one.source or b"" for one in found.values()}


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Return a digest of names and contents, in hex; "" of no files."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest() if files else ""


def _may_lie_beside(name: str, beside: Sequence[str]) -> bool:
    return bool(beside) and name.partition(".")[0] not in OURS


def _around(name: str) -> Iterator[str]:
    """Yield the packages that a module lies in."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _modules(name: str, member: str) -> list[str]:
    return [one for one in (name, f"{name}.{member}" if member not in {"", "*"} else "") if one]


def _file(module: Module) -> str:
    path = module.name.replace(".", "/")
    return f"{path}/__init__.py" if module.is_package else f"{path}.py"
