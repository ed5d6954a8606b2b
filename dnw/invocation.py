"""How this project's commands are typed: as scripts in a clone, as `dnw ...` where pip has installed it."""

from __future__ import annotations

from pathlib import Path

IN_CLONE = (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file()
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
