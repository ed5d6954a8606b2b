"""How this project's commands are typed: as scripts in a clone, as `dnw ...` where pip has installed it."""

from __future__ import annotations

import zipfile
from pathlib import Path


def _is_clone(root: Path) -> bool:
    """Return whether that is a checkout, or the copy of one that a run keeps."""
    if root.is_file():
        with zipfile.ZipFile(root) as archive:
            return "pyproject.toml" in archive.namelist()
    return (root / "pyproject.toml").is_file()


IN_CLONE = _is_clone(Path(__file__).resolve().parents[1])
SUBMIT = "python launch/slurm.py" if IN_CLONE else "dnw submit"
RUN = "python launch/local.py" if IN_CLONE else "dnw run"
RUNS = "python launch/runs.py" if IN_CLONE else "dnw runs"


def as_typed(text: str) -> str:
    """Return a help text, written for a clone, with the commands as they are typed here."""
    for script, command in (("slurm", SUBMIT), ("local", RUN), ("runs", RUNS)):
        text = text.replace(f"python launch/{script}.py", command).replace(
            f"launch/{script}.py", command.removeprefix("python ")
        )
    return text
