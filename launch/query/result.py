"""What came out of a run: result.json, there once the run is done."""

from __future__ import annotations

import json
from typing import Any

from dnw.runs.folder import Run
from launch.errors import LaunchError
from shards.files.regular_file import read_bytes


def read_result(run: Run) -> dict[str, Any] | None:
    """Return the result of a run; None if it isn't done.

    Raises:
        LaunchError: it is damaged.
    """
    if not run.result.exists():
        return None
    try:
        result = json.loads(read_bytes(run.result))
    except ValueError as error:
        raise _damaged(run, str(error)) from None
    if not isinstance(result, dict):
        raise _damaged(run, "no object")
    return result


def _damaged(run: Run, why: str) -> LaunchError:
    return LaunchError(
        f"{run.result}: damaged ({why}); delete it, and the submit command writes it again from the last "
        "checkpoint"
    )
