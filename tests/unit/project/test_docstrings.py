"""Arguments in docstrings: whoever calls a function of three or more reads what each of them is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MANY = 3  # arguments
ELSEWHERE = re.compile(r"\b[Aa]s (for )?`|\bSee |\b[Aa]rg(s|uments)\b")  # told there
EMITTED = "dnw/engines/native/"  # code that writes code: arguments are those of the instruction


def functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """Public ones of a module, and methods of classes that aren't derived: these are told in their bases."""
    yield from (one for one in module.body if isinstance(one, ast.FunctionDef))
    for made in module.body:
        if isinstance(made, ast.ClassDef) and not made.bases and not made.name.startswith("_"):
            yield from (one for one in made.body if isinstance(one, ast.FunctionDef))


def unsaid(function: ast.FunctionDef) -> list[str]:
    """The arguments that a docstring says nothing of, where they are many."""
    told, given = ast.get_docstring(function) or "", function.args
    if function.name.startswith("_") or "Args:" in told or ELSEWHERE.search(told):
        return []
    names = [one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
    names = [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]
    return [name for name in names if not re.search(rf"\b{name}\b", told)] if len(names) >= MANY else []


def test_many_arguments_are_told() -> None:
    found = []
    for package in ("launch", "dnw", "shards"):
        for path in sorted((ROOT / package).rglob("*.py")):
            where = str(path.relative_to(ROOT))
            if not where.startswith(EMITTED):
                for one in functions(ast.parse(path.read_text())):
                    found += [f"{where}:{one.lineno} {one.name}: {name}" for name in unsaid(one)]
    assert not found, "docstrings say nothing of these: name them, or write Args:"


def test_the_rule_finds_what_it_looks_for() -> None:
    (one,) = functions(ast.parse('def f(a, b, c):\n    """Add a and b."""'))
    assert unsaid(one) == ["c"]
    (one,) = functions(ast.parse('def f(a, b, c):\n    """Add.\n\n    Args:\n        a: one.\n    """'))
    assert unsaid(one) == []
