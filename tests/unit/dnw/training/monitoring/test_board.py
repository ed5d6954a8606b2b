"""TensorBoard's files, or none."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from example import train
from run_folder import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dnw.training.monitoring import board, event_file

# What runs without and with TensorBoard do with their writers, in a process that has imported nothing.
BOTH = """
import sys
from pathlib import Path
from dnw import train
from dnw.config import load
from dnw.runs.folder import Run
from dnw.training.monitoring import board
for folder in sys.argv[1:]:
    run = Run(Path(folder))
    train.preload(run.folder)
    writer = board.open_board(run, load(run.config), None)
    board.introduce(writer, run, load(run.config), 0)
    writer.add_scalar("train/loss", 1.0, 1)
    board.conclude(writer)
    writer.close()
    names = ("tensorboard", "mlflow", "wandb", "dnw.tracking.follow", "fsspec", "botocore")
    print([name for name in names if name in sys.modules])
import fsspec
"""


def test_a_run_imports_no_tracker_that_it_does_not_use_nor_tensorboard_object_stores(tmp_path: Path) -> None:
    without, board_alone = make(tmp_path / "a", track=["mlflow", "wandb"]), make(tmp_path / "b")
    done = subprocess.run(
        [sys.executable, "-c", BOTH, str(without.folder), str(board_alone.folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n['tensorboard']\n"
    assert not without.tensorboard.exists()
    assert list(board_alone.tensorboard.iterdir())


# What a class of the user's own may do in a worker; the store is fsspec's, in memory.
OWN = """
import sys
from pathlib import Path
from dnw import train
train.preload(Path(sys.argv[1]))
from torch.utils.tensorboard import SummaryWriter
with SummaryWriter("memory://mine") as writer:
    writer.add_scalar("x", 1.0, 1)
import fsspec
print(len(fsspec.filesystem("memory").ls("/mine")))
"""


def test_a_class_of_ones_own_may_write_into_an_object_store(tmp_path: Path) -> None:
    run = make(tmp_path, wiring={"name": "lab.Mine"})
    words = [sys.executable, "-c", OWN, str(run.folder)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "1\n"


def test_tensorboard_alone_is_the_default(tmp_path: Path) -> None:
    run = make(tmp_path)
    board.preload(run.folder)
    writer = board.open_board(run, train(), None)
    board.introduce(writer, run, train(), 0)
    board.conclude(writer)
    writer.close()
    assert list(run.tensorboard.iterdir())


@pytest.mark.parametrize("apart", [0, -1, -3600, 5], ids=lambda apart: f"{apart}s")
def test_attempts_are_read_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: int
) -> None:
    """Whatever the clock of the next node says, and however often that happens."""
    run = make(tmp_path)
    for attempt in range(4):
        clock = SimpleNamespace(time=partial(float, 1.7e9 + attempt * apart), monotonic=time.monotonic)
        monkeypatch.setattr(event_file, "time", clock)
        with board.open_board(run, train(), purge_step=3 if attempt else None) as writer:
            for step in range(1 + 2 * bool(attempt), 5 + attempt):
                writer.add_scalar("train/loss", attempt, step)
    shown = EventAccumulator(str(run.tensorboard)).Reload().Scalars("train/loss")
    assert [event.step for event in shown] == list(range(1, 8))
    assert [event.value for event in shown] == [0, 0, 3, 3, 3, 3, 3]
    assert len(list(run.tensorboard.iterdir())) == 4
