"""TensorBoard's writer; for a run that goes without it one that writes nothing, and imports nothing.

launch/node/agent.py imports it before workers are forked (`preload`), so that no attempt waits for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnw import user_classes
from dnw.config import ConfigError, Train, load
from dnw.runs.folder import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# TensorBoard imports them where they are installed, to write into object stores, where no run folder is.
_STORES = ("botocore", "fsspec")


class NoBoard:
    """Takes what TensorBoard's writer takes."""

    def add_scalar(self, *_: Any) -> None:
        """Write nothing."""

    def add_text(self, *_: Any) -> None:
        """Write nothing."""

    def add_image(self, *_: Any, dataformats: str) -> None:
        """Write nothing."""

    def flush(self) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write nothing."""


def preload(folder: Path) -> None:
    """Import what `open_board` will need for the run of a folder, before its workers are forked."""
    try:
        train = load(Run(folder).config)
    except ConfigError:  # which each worker tells
        return
    if "tensorboard" in train.track:
        with _without_object_stores(train):
            from dnw.training.monitoring import dashboard, event_file  # noqa: F401, PLC0415  (bring TensorBoard)


@contextlib.contextmanager
def _without_object_stores(train: Train) -> Iterator[None]:
    """Have TensorBoard, where it is imported within, do without the clients of object stores.

    A class of the user's own may write there: for such a run they stay.
    """
    hidden: dict[str, Any] = {}
    if "tensorboard" not in sys.modules and not user_classes.has_any(train):
        hidden = {name: None for name in _STORES if name not in sys.modules}
    sys.modules |= hidden
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def open_board(run: Run, train: Train, purge_step: int | None) -> SummaryWriter | NoBoard:
    """Return a writer; TensorBoard hides what earlier event files hold from `purge_step` on.

    Args:
        run: whose folder the event files are in.
        train: says whether there are any.
        purge_step: the first one that is written anew; None: none is.
    """
    if "tensorboard" not in train.track:
        return NoBoard()
    with _without_object_stores(train):
        from dnw.training.monitoring.event_file import Board  # noqa: PLC0415

    return Board(run.tensorboard, purge_step)


def introduce(board: SummaryWriter | NoBoard, run: Run, train: Train, step: int) -> None:
    """Say what run this is: dnw/training/monitoring/dashboard.py.

    Args:
        board: to say it on.
        run: that is shown.
        train: its settings.
        step: from which it goes on.
    """
    if not isinstance(board, NoBoard):
        from dnw.training.monitoring import dashboard  # noqa: PLC0415

        dashboard.introduce(board, run, train, step)


def conclude(board: SummaryWriter | NoBoard) -> None:
    """Say that the run is done."""
    if not isinstance(board, NoBoard):
        from dnw.training.monitoring import dashboard  # noqa: PLC0415

        dashboard.conclude(board)
