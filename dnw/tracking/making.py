"""Which tracker a name stands for; making it imports its library."""

from __future__ import annotations

from collections.abc import Callable

from dnw.tracking.tracker import Tracker, TrackerError, in_one_line, remedy


def make(name: str) -> Tracker:
    """Return a tracker by its name, which imports its library.

    Raises:
        TrackerError: it isn't installed, can't be imported, or nothing says where it is.
    """
    makes: dict[str, Callable[[], Tracker]] = {"mlflow": _mlflow, "wandb": _wandb}
    with in_one_line(name):
        try:
            return makes[name]()
        except ModuleNotFoundError as error:
            raise TrackerError(f"{name}: {error.name} is not installed; {remedy(name)}") from None


def _mlflow() -> Tracker:
    from dnw.tracking.mlflow_tracker import MlflowTracker  # noqa: PLC0415

    return MlflowTracker()


def _wandb() -> Tracker:
    from dnw.tracking.wandb_tracker import WandbTracker  # noqa: PLC0415

    return WandbTracker()
