"""Where the curves of a run are shown, as one types it: [tensorboard,mlflow]."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

Tracker = Literal["tensorboard", "mlflow", "wandb"]


def _listed(value: Any) -> Any:
    """Return a single name as a list of one; refuse one that is named twice."""
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple) and len(set(map(str, names))) < len(names):
        raise ValueError("trackers, each named once")
    return tuple(names) if isinstance(names, list) else names


Trackers = Annotated[tuple[Tracker, ...], BeforeValidator(_listed)]
