"""Check that a command runs in an environment that has what the project depends on.

For entry points, before they import anything else: `python` without the environment, or an older one, gets a
sentence in place of a ModuleNotFoundError. Needs nothing but the standard library of Python 3.8 and later.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("numpy", "yaml", "pydantic", "hydra", "submitit", "torch")  # one missing tells as much as all
OLDEST = (3, 11)


def require() -> None:
    """End the program with one line on stderr and exit code 1 where dependencies are missing."""
    if reason := missing():
        sys.exit(f"{reason}: {remedy()}")


def missing() -> str | None:
    """Return what this Python lacks, or None."""
    if sys.version_info < OLDEST:
        return f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}, older than 3.11"
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"{sys.executable} lacks {', '.join(absent)}" if absent else None


def remedy() -> str:
    """Return the command that helps: in a clone that of its environment, elsewhere pip's."""
    activate = ROOT / ".venv" / "bin" / "activate"
    if activate.is_file():
        return f"type `source {activate}` first"
    if (ROOT / "Makefile").is_file():
        return f"type `make -C {ROOT} setup`, then `source {activate}`"
    return f"install the project there with `{sys.executable} -m pip install`, or use the Python that has it"
