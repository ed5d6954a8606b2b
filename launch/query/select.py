"""Which runs a command line means: folders, names, or enough of a name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from dnw.runs.folder import Run
from launch.errors import LaunchError
from shards.errors import did_you_mean
from shards.files.folder_entries import matching

MOVED_ASIDE = ".old-"  # by fresh=true
NAMED = re.compile(r"-[0-9a-f]{10}$")  # how every run folder's name ends
LISTED = 4  # names that an error message gives


def below(runs_dir: Path) -> list[Run]:
    """All runs in a folder of runs, by name, half-written ones too; what fresh=true moved aside is none.

    Raises:
        LaunchError: there is no such folder, or it is that of one run or experiment.
    """
    if not runs_dir.is_dir():
        raise LaunchError(f"{runs_dir}: no such folder; name that of your runs with --runs-dir")
    found = [Run(path.absolute()) for path in matching(runs_dir, "*/*") if is_run(path)]
    if not found and (above := _folder_of_runs(runs_dir.absolute())):
        raise LaunchError(f"{runs_dir}: no folder of experiments; name that above with --runs-dir {above}")
    return [run for run in found if not _is_hidden(run)]


def _folder_of_runs(inside: Path) -> Path | None:
    """Return the folder of runs that an experiment's folder, or a run's, lies in."""
    if is_run(inside):
        return inside.parents[1]
    return inside.parent if any(map(is_run, inside.iterdir())) else None


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run; without its configuration it still is one by its name."""
    try:
        os.lstat(Run(folder).config)  # in whatever form: what is wrong with it is told where it is read
        has_config = True
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # which others mustn't, too
        has_config = False
    return has_config or (NAMED.search(folder.name) is not None and folder.is_dir())


def select_runs(words: Sequence[str], runs_dir: Path) -> list[Run]:
    """Return the runs that words name, in their order, each once; all runs where there are no words.

    Args:
        words: each a run folder, a name as in `exp/name`, or a beginning or other part of a name that fits
            only one.
        runs_dir: where names are looked for.

    Raises:
        LaunchError: a word that fits no run, or several.
    """
    if not words:
        return below(runs_dir)
    return list(dict.fromkeys(_one(word, runs_dir) for word in words))


def selection(words: Sequence[str], runs_dir: Path) -> Callable[[], list[Run]]:
    """Return what gives the runs of a command that looks again and again.

    Words are resolved once, since a run that begins later may fit them, too. Without words all runs are found
    anew at each call.

    Args:
        words: as in `select_runs`.
        runs_dir: where names are looked for.

    Raises:
        LaunchError: a word that fits no run, or several.
    """
    if not words:
        return partial(below, runs_dir)
    named = select_runs(words, runs_dir)
    return lambda: named


def _one(word: str, runs_dir: Path) -> Run:
    if is_run(Path(word)):
        return Run(Path(word).resolve())
    return by_name(word, {run.name: run for run in below(runs_dir)}, runs_dir)


def by_name(word: str, runs: Mapping[str, Run], runs_dir: Path) -> Run:
    """Return the run of a name, or of a beginning or other part of one that fits no other.

    Args:
        word: as typed.
        runs: by name.
        runs_dir: where they are, for the message.

    Raises:
        LaunchError: it fits no run, or several.
    """
    name = word.rstrip("/")
    fitting = (
        [name] if name in runs else [known for known in runs if known.startswith(name)]
    ) or [known for known in runs if name in known]  # fmt: skip
    if len(fitting) == 1:
        return runs[fitting[0]]
    if fitting:
        more = f" and {len(fitting) - LISTED} more" if len(fitting) > LISTED else ""
        raise LaunchError(f"{word}: fits {len(fitting)} runs: {', '.join(fitting[:LISTED])}{more}")
    raise LaunchError(f"{word}: no run of this name below {runs_dir}{did_you_mean(name, runs)}")


def _is_hidden(run: Run) -> bool:
    return run.folder.name.startswith(".") or MOVED_ASIDE in run.folder.name
