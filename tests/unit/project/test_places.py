"""The tests of launch/node/job.py are in tests/unit/launch/node/test_job.py, and so for every module."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES = 40  # a module of more has a file of tests


def place(module: Path) -> Path:
    """Return where the tests of a module are; those of a package's own module bear the folder's name."""
    name = module.parent.name if module.stem in {"__init__", "__main__"} else module.stem
    return Path("tests", "unit", module.parent, f"test_{name}.py")


def has_code(module: Path) -> bool:
    """Return whether a module defines a function: one of declarations alone does nothing to test."""
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(module.read_text())))


def test_every_module_has_its_tests_where_its_name_says() -> None:
    sources = [path for name in ("launch", "dnw", "shards") for path in (ROOT / name).rglob("*.py")]
    long = [path for path in sources if len(path.read_text().splitlines()) > LINES and has_code(path)]
    wanted = {str(path.relative_to(ROOT)): place(path.relative_to(ROOT)) for path in long}
    missing = {path: str(test) for path, test in wanted.items() if not (ROOT / test).is_file()}
    assert not missing, "modules of more than 40 lines, and where a file with their tests is missing"
