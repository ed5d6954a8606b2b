"""The lock under which runs are started: of two who type the same at one moment, one wins.

Between the look at how a run stands and the moment from which others can see that it is queued or running
there are seconds: the snapshot, sbatch, or the start of a job that takes the run's own lock. Whoever starts
runs holds the lock of their experiment's folder meanwhile, a file beside the run folders: the folder of a run
may not be there yet, or may be about to be moved aside. The other waits, looks again, and is told.

Where the file system has no locks, whoever makes a second file holds the lock. It says who that is. That of a
process which has ended on this machine is replaced by whoever alone may do so: who has made the file of that
name and sees, from then on, that the one to be replaced is still the same.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from dnw.runs.folder import Run
from launch.errors import not_written
from shards.flock import Outcome, flock

NAME = ".starting"
OWNER = ".starting-owner"  # where there are no locks
POLL_S = 0.2


@contextlib.contextmanager
def held(runs: Iterable[Run]) -> Iterator[None]:
    """Hold the locks of the folders that runs are in; no file and no empty folder is left behind.

    Raises:
        LaunchError: nothing can be written there.
    """
    folders = sorted({run.folder.parent for run in runs})  # in one order: nobody waits in a circle
    with contextlib.ExitStack() as stack:
        for folder in folders:
            stack.enter_context(_held(folder))
        yield


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    path = folder / NAME
    try:
        descriptor, made = _take(path)
    except OSError as error:
        raise not_written(folder, error) from None
    try:
        yield
    finally:
        for name in (OWNER, NAME):  # while it is held, and so are its folders: see _take
            path.with_name(name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # where something came of it
            for one in made:
                one.rmdir()
        os.close(descriptor)


def _take(path: Path) -> tuple[int, list[Path]]:
    """Return a descriptor of the locked file that has this name, and the folders that were made for it.

    Whoever held the lock before has removed their file, and the folders that were made for that.
    """
    while True:
        made = [one for one in (path.parent, path.parent.parent) if not one.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue
        try:
            has_locks = _wait(descriptor, path) == "locked"
            if _is_named(descriptor, path) if has_locks else _owns(path.with_name(OWNER)):
                return descriptor, made
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _wait(descriptor: int, path: Path) -> Outcome:
    outcome = flock(descriptor)
    if outcome == "held":
        print(f"waiting for another start in {path.parent}", file=sys.stderr, flush=True)
        outcome = flock(descriptor, wait=True)
    return outcome


def _owns(owner: Path) -> bool:
    """Make a file that says who this is, once no other process has one; False if its folder is gone."""
    is_told, mine = False, f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}\n"
    while True:
        try:
            _make(owner, mine)
            return True
        except FileNotFoundError:
            return False
        except FileExistsError:
            found = _said(owner)
            if found is None:
                continue
            if _has_ended(found) and _replaced(owner, found, mine):
                return True
        if not is_told:
            print(
                f"waiting for another start in {owner.parent}; if there is none, remove {owner}",
                file=sys.stderr,
                flush=True,
            )
        is_told = True
        time.sleep(POLL_S)


def _make(path: Path, text: str) -> None:
    """Write a new file; raises FileExistsError."""
    with path.open("x") as file:
        file.write(text)


def _said(owner: Path) -> str | None:
    """Return what a file says; None if it is gone."""
    try:
        return owner.read_text()
    except FileNotFoundError:
        return None


def _has_ended(said: str) -> bool:
    host, process, *_ = [*said.split(), "", ""]
    return host == socket.gethostname() and not Path("/proc", process).exists()


def _replaced(owner: Path, theirs: str, mine: str) -> bool:
    """Put one's own file in the place of that of a process that has ended; False if another one does."""
    successor = owner.with_name(f"{owner.name}-after-{zlib.crc32(theirs.encode()):08x}")
    try:
        _make(successor, mine)
    except (FileExistsError, FileNotFoundError):
        return False
    if _said(owner) != theirs:  # somebody was quicker, and gone again
        successor.unlink()
        return False
    successor.replace(owner)
    return True


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
