"""Folders are listed by shards/files/folder_entries.py, which tells a failure; `Path.glob` hides it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# what lies beside the code or in the kernel's own file systems, where nothing found is an answer, too
ALLOWED = {
    "launch/gpus.py",  # /dev
    "launch/cluster/local_processes.py",  # /proc
    "launch/commands/tensorboard.py",  # links of its own
    "dnw/hardware/numa.py",  # /sys
    "dnw/engines/native/caches.py",  # /sys
    "dnw/model_registry.py",  # installed packages
    "dnw/optimizer_registry.py",
    "dnw/words.py",  # configs/
}


def globs(path: Path) -> bool:
    """Whether a module calls glob or rglob of anything."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr in {"glob", "rglob", "iglob"} for call in calls)


def test_folders_are_listed_in_one_place() -> None:
    modules = [path for name in ("launch", "dnw", "shards") for path in (ROOT / name).rglob("*.py")]
    assert {str(path.relative_to(ROOT)) for path in modules if globs(path)} == ALLOWED
