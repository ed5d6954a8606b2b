"""The names of a run's classes: classes.json in its folder, and the same in each of its checkpoints.

They are no setting: signatures stay what they were, so that runs go on that were begun without them, and a
thousand names don't stand in a configuration. The file is a list as `shards.write --classes` takes it. The
launcher writes it when the run is made; checkpoints are used without their folder, too.
"""

from __future__ import annotations

import json

from dnw.runs.folder import Run
from shards.atomic import replacing
from shards.classes import Names, read_names


def read(run: Run) -> Names:
    """Return the names; None where the run was begun without.

    Raises:
        shards.errors.ShardError: the file is damaged.
        OSError: it can't be read.
    """
    return read_names(run.classes) if run.classes.exists() else None


def write(run: Run, names: Names) -> None:
    """Note the names, if they are known and not noted yet. Raises OSError."""
    if names is not None and not run.classes.exists():
        with replacing(run.classes) as file:
            file.write(json.dumps(names, indent=0).encode() + b"\n")
