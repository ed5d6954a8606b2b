"""What lies in a folder of runs and may go: what nobody needs any more, of runs that nobody works on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnw.runs import lock
from dnw.runs.folder import Run, step_path, steps
from launch.query import select
from launch.query.run_status import RunStatus, query_status
from shards.files.folder_entries import matching

SETTLED_S = 3600.0  # what was written since may be on its way to its place still
NEEDS_OUTPUT = frozenset({"failed", "diverged", "unreadable"})  # their jobs' output may be all that tells why


@dataclass(frozen=True)
class CleanupCandidate:
    """A file or a folder that may go."""

    path: Path
    why: str
    runs_dir: Path  # the folder of runs that it lies in
    run: Run | None  # whose lock is to be held while it goes; None: no run's, or a run as a whole

    @property
    def bytes(self) -> int:
        """Of all the files in it; links count for nothing, and aren't followed."""
        return _size(self.path)


def cleanup_candidates(
    runs: Sequence[Run], runs_dir: Path | None
) -> tuple[list[CleanupCandidate], list[str]]:
    """Return what these runs no longer need, and notes on what was skipped because its state is unknown.

    Args:
        runs: which.
        runs_dir: the folder of all of them, if it is to be looked through as well; None: these runs alone.
    """
    exps = {run.folder.parent for run in runs}
    if runs_dir is not None:
        exps |= {path.absolute() for path in matching(runs_dir, "[!.]*") if path.is_dir()}
    aside = [run for run in _moved_aside(exps) if runs_dir is not None or _original(run) in runs]
    statuses, notes = query_status(list(dict.fromkeys([*runs, *aside])))
    found = [leftover for one in statuses if _is_idle(one) for leftover in _of_run(one)]
    if runs_dir is not None:
        found += _of_no_run(exps, runs_dir.absolute(), statuses)
    unsure = [one.run.name for one in statuses if not one.is_at_work and not _is_idle(one)]
    outside = [one for one in found if not _is_inside(one)]
    return [one for one in found if one not in outside], [
        *notes,
        *(f"{name}: skipped: the state of the run is unknown" for name in unsure),
        *(f"{one.path}: skipped: a symbolic link leads there" for one in outside),
    ]


def _is_idle(one: RunStatus) -> bool:
    """Whether it is sure that nobody works on a run, or will without being asked to."""
    is_known = one.submission is not None or not one.run.launch.exists()
    is_in_sight = one.is_finished or not one.is_out_of_sight
    return is_known and is_in_sight and not one.is_at_work and lock.holder(one.run.lock) is None


def _of_run(one: RunStatus) -> Iterator[CleanupCandidate]:
    run, runs_dir = one.run, one.run.folder.parent.parent
    if select.MOVED_ASIDE in run.folder.name:
        yield CleanupCandidate(run.folder, "run that fresh=true moved aside", runs_dir, None)
        return
    for path in _superfluous(one):
        yield CleanupCandidate(path, "checkpoint of a finished run, not its last", runs_dir, run)
    for path in matching(run.checkpoints, "*.damaged"):
        yield CleanupCandidate(path, "damaged checkpoint", runs_dir, run)
    for path in _claims(one):
        yield CleanupCandidate(path, "what an attempt was writing when it broke off", runs_dir, run)
    for path in sorted([*matching(run.folder, "*.tmp"), *matching(run.checkpoints, "*.tmp")]):
        if _is_settled(path):
            yield CleanupCandidate(path, "half-written file", runs_dir, run)


def _superfluous(one: RunStatus) -> list[Path]:
    """Checkpoints of a finished run but init.pt, best.pt and the last, which its result must be of."""
    saved = steps(one.run.checkpoints)
    if one.result is None or not saved or saved[-1] != one.result.get("steps"):
        return []
    return [step_path(one.run.checkpoints, step) for step in saved[:-1]]


def _claims(one: RunStatus) -> list[Path]:
    """Folders of attempts that the ledger knows; any other keeps its number from being given again."""
    begun = one.attempts[-1].number if one.attempts else 0
    numbers = {path: re.match(r"\.?(\d+)", path.name) for path in matching(one.run.claims, "*")}
    known = [path for path, number in numbers.items() if number and int(number[1]) <= begun]
    return [path for path in known if _is_settled(path)]


def _of_no_run(
    exps: Iterable[Path], runs_dir: Path, statuses: Sequence[RunStatus]
) -> Iterator[CleanupCandidate]:
    for path in sorted(path for exp in exps for path in matching(exp, ".preparing-*")):
        if _is_settled(path):
            yield CleanupCandidate(path, "run folder that was never completed", path.parent.parent, None)
    if any(one.submission is None and one.run.launch.exists() for one in statuses):
        return  # nobody knows which submission that run is of
    needed = {
        Path(one.submission.folder).resolve() for one in statuses if one.submission and _needs_files(one)
    }
    for path in matching(runs_dir / ".sweeps", "[0-9]*"):
        if path.resolve() not in needed and _is_settled(path):
            yield CleanupCandidate(path, "files of a sweep whose jobs are over", runs_dir, None)


def _needs_files(one: RunStatus) -> bool:
    """Whether the files of its submission are still of use."""
    return not _is_idle(one) or one.state in NEEDS_OUTPUT


def _moved_aside(exps: Iterable[Path]) -> list[Run]:
    found = sorted(path for exp in exps for path in matching(exp, f"[!.]*{select.MOVED_ASIDE}*"))
    return [Run(path) for path in found if path.is_dir() and not path.is_symlink()]


def _original(aside: Run) -> Run:
    return Run(aside.folder.with_name(aside.folder.name.partition(select.MOVED_ASIDE)[0]))


def _is_settled(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > SETTLED_S


def _is_inside(one: CleanupCandidate) -> bool:
    """Whether it lies in the folder of runs, and not where a link leads out of that."""
    return one.path.parent.resolve().is_relative_to(one.runs_dir.resolve())


def _size(path: Path) -> int:
    if path.is_symlink():
        return 0
    return sum(map(_size, path.iterdir())) if path.is_dir() else path.lstat().st_size
