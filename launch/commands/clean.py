"""Removing what may go from a folder of runs, after asking."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich import box
from rich.table import Table

from dnw.console import PlainConsole
from dnw.invocation import RUNS
from dnw.runs.folder import Run
from dnw.runs.lock import HeldError, Lock
from launch.commands.cleanup_candidates import CleanupCandidate, cleanup_candidates
from launch.errors import LaunchError


def clean(runs: Sequence[Run], runs_dir: Path | None, yes: bool, dry_run: bool) -> int:
    """List what may go, ask, and remove it.

    Args:
        runs: which.
        runs_dir: the folder of all of them, if what belongs to no run may go from it as well.
        yes: remove without asking.
        dry_run: list alone.

    Returns:
        the exit code: 1 if something that may go stays, for want of a yes.

    Raises:
        LaunchError: something could not be removed.
    """
    found, notes = cleanup_candidates(runs, runs_dir)
    for note in notes:
        print(note, file=sys.stderr)
    if not found:
        print("nothing to clean")
        return 0
    _print(found)
    if dry_run:
        return 0
    if not yes and not _is_agreed():
        return 1
    # The question may have stood for hours: what is needed again meanwhile stays.
    still, _ = cleanup_candidates(runs, runs_dir)
    freed = sum(_remove(one) for one in still if one in found)
    print(f"deleted {size(freed)}")
    return 0


def _print(found: Sequence[CleanupCandidate]) -> None:
    """Print a line for each, and how much they are together."""
    sizes = [one.bytes for one in found]
    table = Table(box=box.SIMPLE, show_footer=True, pad_edge=False)
    table.add_column("What", f"{len(found)} in all", overflow="fold")
    table.add_column("Why it may go")
    table.add_column("Size", size(sum(sizes)), justify="right", no_wrap=True)
    for one, its in zip(found, sizes, strict=True):
        table.add_row(str(one.path.relative_to(one.runs_dir)), one.why, size(its))
    console = PlainConsole()
    console.print(table)


def size(count: float) -> str:
    """Return a number of bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _is_agreed() -> bool:
    if not sys.stdin.isatty():
        print(
            f"nothing deleted: no terminal to ask on; `{RUNS} clean --yes` deletes all of these, "
            f"`{RUNS} clean RUN --yes` those of one run",
            file=sys.stderr,
        )
        return False
    with contextlib.suppress(EOFError):
        if input("Delete? [y/N] ").strip().lower() in {"y", "yes"}:
            return True
    print("nothing deleted")
    return False


def _remove(one: CleanupCandidate) -> int:
    """Remove a file or folder, and return its size in bytes."""
    freed = one.bytes
    try:
        with _undisturbed(one):
            if one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)  # which unlinks links, and doesn't follow them
            else:
                one.path.unlink()
    except HeldError as error:
        raise LaunchError(f"{one.path}: not deleted, {error}; type it again when it has ended") from None
    except OSError as error:
        raise LaunchError(f"{error.filename or one.path}: not deleted, {error.strerror}") from None
    return freed


def _undisturbed(one: CleanupCandidate) -> AbstractContextManager[Lock | None]:
    """No attempt begins to work on its run meanwhile."""
    return Lock.take(one.run.lock) if one.run else contextlib.nullcontext()
