"""The name of the sweep that a run is one of."""

from __future__ import annotations

from dnw.runs.folder import Run
from shards.atomic import replacing


def write(run: Run, name: str | None) -> None:
    """Note the sweep in the run folder; a run that is typed alone later stays in it."""
    if name is not None:
        with replacing(run.sweep) as file:
            file.write(f"{name}\n".encode())


def read(run: Run) -> str | None:
    """Return the name, if there is one."""
    return run.sweep.read_text().strip() if run.sweep.exists() else None
