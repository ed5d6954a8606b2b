"""TensorBoard's files, or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from example import train
from run_folder import make

from dnw.training.monitoring import board

# What a run without TensorBoard does with its writer, in a process that has imported nothing.
WITHOUT = """
import sys
from pathlib import Path
from dnw import train
from dnw.config import load
from dnw.runs.folder import Run
from dnw.training.monitoring import board
run = Run(Path(sys.argv[1]))
train.preload(run.folder)
writer = board.open_board(run, load(run.config), None)
board.introduce(writer, run, load(run.config), 0)
writer.add_scalar("train/loss", 1.0, 1)
board.conclude(writer)
writer.close()
found = [name for name in ("tensorboard", "mlflow", "wandb", "dnw.tracking.follow") if name in sys.modules]
print(found)
"""


def test_a_run_imports_no_tracker_that_it_does_not_use(tmp_path: Path) -> None:
    run = make(tmp_path, track=["mlflow", "wandb"])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(run.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert not run.tensorboard.exists()


def test_tensorboard_alone_is_the_default(tmp_path: Path) -> None:
    run = make(tmp_path)
    board.preload(run.folder)
    writer = board.open_board(run, train(), None)
    board.introduce(writer, run, train(), 0)
    board.conclude(writer)
    writer.close()
    assert list(run.tensorboard.iterdir())
