"""TensorBoard's writer; for a run that goes without it one that writes nothing, and imports nothing.

launch/node/agent.py imports it before workers are forked (`preload`), so that no attempt waits for it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnw.config import ConfigError, Train, load
from dnw.runs.folder import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_PREFIX = "events.out.tfevents."  # and behind it the second in which the file was begun


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
        from dnw.training.monitoring import dashboard  # noqa: F401, PLC0415  (brings TensorBoard)


def open_board(run: Run, train: Train, purge_step: int | None) -> SummaryWriter | NoBoard:
    """Return a writer; TensorBoard hides what earlier event files hold from `purge_step` on.

    Args:
        run: whose folder the event files are in.
        train: says whether there are any.
        purge_step: the first one that is written anew; None: none is.
    """
    if "tensorboard" not in train.track:
        return NoBoard()
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    _put_before(run.tensorboard, int(time.time()))
    return SummaryWriter(str(run.tensorboard), purge_step=purge_step)


def _put_before(folder: Path, second: int) -> None:
    """Rename event files that are not named before a second, in their order, so that they are.

    TensorBoard reads them by name, which begins with the writer's clock, and where an attempt's file comes
    before that of the attempt it goes on from, it draws what was redone twice or hides it. That is so if
    this node's clock is behind the last one's, or both attempts began in one second.
    """
    begun = sorted(path.name for path in folder.glob(f"{_PREFIX}*"))
    late = [name for name in begun if name >= f"{_PREFIX}{second - 1:010d}"]
    if not late or late[-1] < f"{_PREFIX}{second:010d}":
        return
    for place, name in enumerate(late):
        (folder / name).rename(folder / f"{_PREFIX}{second - 1:010d}.{place:04d}.{name.split('.', 4)[-1]}")


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
