"""TensorBoard over chosen runs, on this machine alone, until Ctrl-C."""

from __future__ import annotations

import getpass
import io
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from urllib.parse import urlsplit

from dnw.runs.folder import Run
from launch.errors import LaunchError
from shards import terminal

HOST = "127.0.0.1"  # the curves are nobody else's business: TensorBoard asks no one for a password
RELOAD_S = 5.0  # TensorBoard looks for news as often

SERVING = """\
TensorBoard of {runs}: http://{host}:{port}/
From another machine: ssh -L {port}:{host}:{port} {user}@{node}, then the same address there.
Ctrl-C ends it."""


def show(select: Callable[[], Sequence[Run]], port: int | None) -> int:
    """Serve the curves of runs, those that begin meanwhile too, until Ctrl-C.

    Args:
        select: which runs; asked again and again, so that new ones appear.
        port: where on loopback; None: 6006, or the next that is free.

    Returns:
        the exit code, 0.

    Raises:
        LaunchError: the port is taken, or may not be used.
    """
    terminal.unwind_when_ended()  # the folder of links goes too
    with tempfile.TemporaryDirectory(prefix="dnw-tensorboard-") as folder:
        try:
            runs = select()
            link(runs, Path(folder))
            address = urlsplit(_launch(Path(folder), port))
            print(_told(len(runs), address.port), flush=True)
            while True:
                time.sleep(RELOAD_S)
                link(select(), Path(folder))
        except KeyboardInterrupt:
            return 0


def link(runs: Sequence[Run], folder: Path) -> None:
    """Make a tree of links, `exp/name`, to the event files of the runs that have any; no others stay.

    TensorBoard names curves by folders. Its own option for names, logdir_spec, parts runs at commas, of
    which the names of runs are full.
    """
    named = _names(runs).items()
    wanted = {folder / name: run.tensorboard for name, run in named if run.tensorboard.is_dir()}
    for known in folder.glob("**/*"):
        if known.is_symlink() and known not in wanted:
            known.unlink()
    for path, target in wanted.items():
        if not path.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target.absolute(), target_is_directory=True)


def _names(runs: Sequence[Run]) -> dict[str, Run]:
    """Name each run: `exp/name`, or more of its path where two share that."""
    names = {run.name: run for run in runs}
    if len(names) == len(runs):
        return names
    base = os.path.commonpath([run.folder for run in runs])
    return {str(run.folder.relative_to(base)): run for run in runs}


def _launch(folder: Path, port: int | None) -> str:
    """Start TensorBoard in threads of this process: the address it serves at."""
    from tensorboard import program  # noqa: PLC0415  (takes a second)

    board = program.TensorBoard()
    words = ["--logdir", str(folder), "--host", HOST, "--reload_interval", str(RELOAD_S)]
    board.configure(["tensorboard", *words, "--port", "default" if port is None else str(port)])
    try:
        with redirect_stderr(io.StringIO()):  # advertises options that aren't ours; failures are raised
            return str(board.launch())
    except program.TensorBoardServerException as error:
        raise LaunchError(f"{error.msg}; name another with --port") from error


def _told(runs: int, port: int | None) -> str:
    return SERVING.format(
        runs=f"{runs} run{'s' * (runs != 1)}",
        host=HOST,
        port=port,
        user=getpass.getuser(),
        node=socket.gethostname(),
    )
